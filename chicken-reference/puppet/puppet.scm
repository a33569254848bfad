;;;; A puppet: a bokbok peer steered over its standard input and output, one datum a line.
;;;
;;; The conformance runner speaks to it as the project's docs describe. It does only what the egg's documented API
;;; does, so that the same file drives our egg and (compiled with -D bokbok-real-egg) the real one. It holds no test
;;; logic. Standard error is its log. At the end of its input it closes everything and exits with 0.

(cond-expand (bokbok-real-egg (require-library bokbok)) (else))
(include "puppet/service.scm")

(module bokbok-puppet ()
  (import scheme bokbok-compat bokbok-threads bokbok-waiting bokbok bokbok-service)
  (cond-expand
    (bokbok-real-egg)
    (else (import bokbok-datum-reader)))

  ;;; What it is

  (define puppet-name
    (cond-expand
      (bokbok-real-egg (cond-expand (chicken-5 "chicken5-egg") (else "chicken4-egg")))
      (chicken-5 "chicken5")
      (else "chicken4")))

  (define puppet-version
    (cond-expand
      (bokbok-real-egg (include "egg-version.scm"))
      (else "1.0")))

  ;; The real egg's bytes are not known: it claims the API alone, and its API cannot tell which port was bound.
  (define puppet-features
    (cond-expand
      (bokbok-real-egg `(puppet-1 tcp unix secure insecure rendezvous reference (dialect ,chicken-dialect)))
      (else
       `(puppet-1 tcp unix ipv6 secure insecure port-0 rendezvous reference profile hardening
         (dialect ,chicken-dialect) (profile inferred-1)))))

  (define (bound-address server asked)
    (cond-expand
      (bokbok-real-egg asked)
      (else (server-addr server))))

  ;;; Standard input and output, without blocking the other threads

  (foreign-declare "#include <unistd.h>\n#include <errno.h>\n")

  (define read-fd
    (foreign-lambda* int ((int fd) (scheme-pointer buf) (int n))
      "ssize_t r; do r = read(fd, buf, n); while (r < 0 && errno == EINTR); C_return(r);"))

  (define write-fd
    (foreign-lambda* int ((int fd) (scheme-pointer buf) (int start) (int n))
      "ssize_t r; do r = write(fd, (char *)buf + start, n); while (r < 0 && errno == EINTR); C_return(r);"))

  (define output-mutex (make-mutex))
  ;; Room for this many bytes is what a pipe has when it says that it has room.
  (define pipe-piece 4096)

  (define (put-line datum)
    (let* ((text (string-append (datum->line datum) "\n"))
           (end (string-length text)))
      (mutex-lock! output-mutex)
      (let ((waiter (make-waiter)))
        (let loop ((start 0))
          (when (< start end)
            (wait-for-fd! waiter 1 #:output #f)
            (let ((n (write-fd 1 text start (min pipe-piece (- end start)))))
              (when (< n 0) (exit 1))
              (loop (+ start n))))))
      (mutex-unlock! output-mutex)))

  ;; Calls `take` with each line, without its end, until the end of the input.
  (define (for-each-line take)
    (define size 65536)
    (define buf (make-string size))
    (define waiter (make-waiter))
    (let loop ((parts '()))
      (wait-for-fd! waiter 0 #:input #f)
      (let ((n (read-fd 0 buf size)))
        (when (> n 0)
          (let next ((start 0) (parts parts))
            (let ((end (let find ((i start)) (and (< i n) (if (char=? #\newline (string-ref buf i)) i (find (+ i 1)))))))
              (cond (end
                     (take (joined (cons (substring buf start end) parts)))
                     (next (+ end 1) '()))
                    (else (loop (cons (substring buf start n) parts))))))))))

  (define (joined parts)                ; last first
    (if (null? (cdr parts))
        (car parts)
        (with-output-to-string (lambda () (for-each display (reverse parts))))))

  ;; The datum of a line. CHICKEN 5's own `read` misses the nearest double for some texts, and what a puppet was told
  ;; to send it must send to the last bit; CHICKEN 4's does not, so that the real egg's puppet needs nothing else.
  (define (line->datum line)
    (cond-expand
      (bokbok-real-egg (with-input-from-string line read))
      (else (call-with-values (lambda () (read-datum line 0 (string-length line) 1000000 1000000))
              (lambda (x end) (if (eq? x nothing) #!eof x))))))

  ;; A datum in one line: as `write` prints it, but keywords are `foo:`, and a symbol's control bytes are escaped
  ;; (CHICKEN 4 writes a symbol of one control byte as it is).
  (define (datum->line x)
    ;; A name; `written` has `write`'s text of it.
    (define (escaped-symbol s written)
      (define (hex n) (if (< n 16) (string-append "0" (number->string n 16)) (number->string n 16)))
      (cond ((= 0 (string-length s)) "||")
            ((and (= 1 (string-length s)) (char<? (string-ref s 0) #\space))
             (string-append "|\\x" (hex (char->integer (string-ref s 0))) "|"))
            (else (written))))
    (define (as-written x) (with-output-to-string (lambda () (write x))))
    ;; Without its colon. Of a symbol that has the same name, CHICKEN 4 may show a prefix, as in ##a#b.
    (define (written-keyword k)
      (cond-expand
        (chicken-5 (as-written (string->symbol (keyword->string k))))
        (else (let ((text (as-written k))) (substring text 0 (- (string-length text) 1))))))
    (with-output-to-string
      (lambda ()
        (let out ((x x))
          (cond ((pair? x)
                 (display "(")
                 (out (car x))
                 (let tail ((x (cdr x)))
                   (cond ((pair? x) (display " ") (out (car x)) (tail (cdr x)))
                         ((not (null? x)) (display " . ") (out x))))
                 (display ")"))
                ((and (vector? x) (> (vector-length x) 0))
                 (display "#(")
                 (out (vector-ref x 0))
                 (do ((i 1 (+ i 1))) ((= i (vector-length x)))
                   (display " ")
                   (out (vector-ref x i)))
                 (display ")"))
                ((is-keyword? x)
                 (display (escaped-symbol (keyword->string x) (lambda () (written-keyword x))))
                 (display ":"))
                ;; CHICKEN 4's symbol->string drops the prefix of a symbol such as ##a#b; its write does not.
                ((and (symbol? x) (eq? x (string->symbol (symbol->string x))))
                 (display (escaped-symbol (symbol->string x) (lambda () (as-written x)))))
                ((eq? x (void)) (display "()"))
                (else (write x)))))))

  ;;; Handles

  (define handles '())                  ; alist from handle to connection or server
  (define next-own -1)
  (define state-mutex (make-mutex))

  (define (locked thunk)
    (mutex-lock! state-mutex)
    (let ((result (thunk)))
      (mutex-unlock! state-mutex)
      result))

  (define (add-handle! h x) (locked (lambda () (set! handles (cons (cons h x) handles)))))

  (define (own-handle! x)
    (locked (lambda ()
              (let ((h next-own))
                (set! next-own (- h 1))
                (set! handles (cons (cons h x) handles))
                h))))

  (define (handle-of x)
    (let loop ((left handles))
      (cond ((null? left) #f) ((eq? x (cdar left)) (caar left)) (else (loop (cdr left))))))

  (define (thing h)
    (let ((entry (assv h handles)))
      (if entry (cdr entry) (invalid "no such handle"))))

  (define (invalid message)
    (abort (make-composite-condition
             (make-property-condition 'exn 'message message 'arguments '())
             (make-property-condition 'type))))

  ;;; The rendezvous: requests of the service that wait until the runner releases them by name

  (define awaiting '())                 ; a name for each handler that waits
  (define released '())                 ; names that were signalled
  (define rendezvous-mutex (make-mutex))
  (define rendezvous-changed (make-condition-variable))

  (define (await name)
    (mutex-lock! rendezvous-mutex)
    (set! awaiting (cons name awaiting))
    (mutex-unlock! rendezvous-mutex)
    (put-line (list 'event 'awaiting name))
    (mutex-lock! rendezvous-mutex)
    (let wait ()
      (unless (member name released)
        (mutex-unlock! rendezvous-mutex rendezvous-changed)
        (mutex-lock! rendezvous-mutex)
        (wait)))
    (mutex-unlock! rendezvous-mutex)
    name)

  ;; Releases those who wait for a name, now and later: how many waited.
  (define (signal-all name)
    (mutex-lock! rendezvous-mutex)
    (let loop ((left awaiting) (others '()) (count 0))
      (cond ((pair? left)
             (if (equal? name (car left))
                 (loop (cdr left) others (+ count 1))
                 (loop (cdr left) (cons (car left) others) count)))
            (else
             (set! awaiting others)
             (unless (member name released) (set! released (cons name released)))
             (condition-variable-broadcast! rendezvous-changed)
             (mutex-unlock! rendezvous-mutex)
             count))))

  ;; The conformance service, and the rendezvous, which is not for the public.
  (define (serve-puppet con request)
    (if (and (list? request) (= 2 (length request)) (equal? "await" (car request)))
        (await (cadr request))
        (serve con request)))

  ;;; Commands

  (define (start-listening h address backlog users)
    (define keys
      (and users (map (lambda (u) (cons (car u) (and (cdr u) (passphrase->key (cdr u))))) users)))
    (define (user->key user)
      (let ((entry (assoc user keys)))
        (and entry (cdr entry))))
    (let ((server (start-server address backlog (and keys user->key)
                                (lambda (con)
                                  (let ((own (own-handle! con)))
                                    (put-line (list 'event 'opened h own (connection-user con)
                                                    (connection-addr con)))))
                                serve-puppet
                                (lambda (con) (put-line (list 'event 'closed (handle-of con)))))))
      (add-handle! h server)
      (list 'ok (bound-address server address))))

  (define (connect h address user passphrase)
    (let ((con (open-connection! address user (and passphrase (passphrase->key passphrase)) serve-puppet
                                 (lambda (con) (put-line (list 'event 'closed h))))))
      (add-handle! h con)
      '(ok)))

  (define (perform command)
    (define (is? name count) (and (eq? name (car command)) (= count (length (cdr command)))))
    (let ((args (cdr command)))
      (cond ((is? 'hello 0) (list 'ok puppet-name puppet-version puppet-features))
            ((is? 'listen 4) (apply start-listening args))
            ((is? 'connect 4) (apply connect args))
            ((is? 'request 2) (list 'response (request! (thing (car args)) (cadr args))))
            ((is? 'info 1)
             (let ((con (thing (car args))))
               (list 'ok (connection-user con) (connection-addr con))))
            ((is? 'close 1) (close-connection! (thing (car args))) '(ok))
            ((is? 'stop 1) (stop-server! (thing (car args))) '(ok))
            ((is? 'wait 1) (wait-until-server-stopped (thing (car args))) '(ok))
            ((is? 'signal 1) (list 'ok (signal-all (car args))))
            ((is? 'key 1) (list 'unsupported "keys are opaque"))
            (else (list 'unsupported (datum->line (car command)))))))

  (define is-exn? (condition-predicate 'exn))

  (define (message-of e)
    (if (and (condition? e) (is-exn? e))
        (let ((message ((condition-property-accessor 'exn 'message "") e))
              (args ((condition-property-accessor 'exn 'arguments '()) e)))
          (with-output-to-string
            (lambda ()
              (display message)
              (when (list? args)
                (for-each (lambda (x) (display " ") (write x)) args)))))
        (datum->line e)))

  ;; An API that refuses an argument says so by the kinds of CHICKEN's own checks.
  (define (failure e)
    (cond ((remote-error? e) (list 'remote-error (remote-error-message e)))
          ((and (condition? e)
                (or ((condition-predicate 'type) e) ((condition-predicate 'bounds) e)
                    ((condition-predicate 'arity) e)))
           (list 'invalid (message-of e)))
          (else (list 'network-error (message-of e)))))

  (define (obey number command)
    (put-line (cons number (handle-exceptions e (failure e) (perform command)))))

  (define (note . parts)
    (let ((err (current-error-port)))
      (for-each (lambda (x) (display x err)) parts)
      (newline err)))

  ;; The number of a command that cannot be read, or #f.
  (define (leading-number line)
    (let loop ((i 1))
      (if (and (< i (string-length line)) (char-numeric? (string-ref line i)))
          (loop (+ i 1))
          (and (> i 1) (char=? #\( (string-ref line 0)) (string->number (substring line 1 i))))))

  (define (take-line line)
    (let ((command (handle-exceptions e
                     (let ((n (leading-number line)))
                       (note "cannot read a command: " (message-of e))
                       (when n (put-line (list n 'invalid "the command cannot be read")))
                       #f)
                     (line->datum line))))
      (cond ((or (not command) (eof-object? command)))
            ((and (list? command) (> (length command) 1) (fixnum? (car command)))
             (thread-start! (make-thread (lambda () (obey (car command) (cdr command))) 'command)))
            (else (note "not a command: " line)))))

  (define (close-everything)
    (for-each
      (lambda (entry)
        (handle-exceptions e #f
          (if (connection? (cdr entry))
              (close-connection! (cdr entry))
              (stop-server! (cdr entry)))))
      handles))

  (for-each-line take-line)
  (close-everything)
  (exit 0))
