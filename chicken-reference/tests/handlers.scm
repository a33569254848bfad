;;;; What handlers do that a puppet's do not: they fail, stop the server, return what nobody expects. A server and its
;;;; clients in one process; what was seen is printed, a line each.
;;;
;;;   handlers SCENE PATH                   PATH: of a Unix socket, not yet there

(module bokbok-handlers ()
  (import scheme bokbok-compat bokbok-threads bokbok)
  (cond-expand
    (chicken-5 (import (only (chicken process-context) command-line-arguments)))
    (else))

  (define scene (string->symbol (car (command-line-arguments))))
  (define path (cadr (command-line-arguments)))
  (define address (list 'unix path))

  (define mutex (make-mutex))
  (define changed (make-condition-variable))
  (define events '())

  (define (say . parts)
    (mutex-lock! mutex)
    (write parts)
    (newline)
    (flush-output)
    (set! events (cons parts events))
    (condition-variable-broadcast! changed)
    (mutex-unlock! mutex))

  (define (await event)
    (mutex-lock! mutex)
    (let loop ()
      (unless (member event events)
        (mutex-unlock! mutex changed)
        (mutex-lock! mutex)
        (loop)))
    (mutex-unlock! mutex))

  (define message-of (condition-property-accessor 'exn 'message "none"))

  ;; What a request comes to: its answer, or a list that names the error.
  (define (outcome con message)
    (handle-exceptions e
      (cond ((remote-error? e) (list 'remote (remote-error-message e)))
            (((condition-predicate 'net) e) (list 'net))
            (((condition-predicate 'type) e) (list 'type (message-of e)))
            (else (list 'other (message-of e))))
      (request! con message)))

  (define (ask con message) (say 'answer (outcome con message)))

  (define (fork thunk) (thread-start! (make-thread thunk)))

  (define (echo con x) x)

  ;; What SRFI 18's `thread-terminate!` does with the calling thread.
  (define (end-this-thread)
    (##sys#thread-kill! (current-thread) 'terminated)
    (##sys#schedule))

  (define-record-type point (make-point x y) point? (x point-x) (y point-y))

  (define (connect) (open-connection! address #f #f #f #f))

  (bokbok-log (lambda (line) (say 'log line)))

  (define (play)
    (case scene
      ;; A failed open handler does not keep the server from serving.
      ((open-fails)
       (start-server address 5 #f (lambda (con) (error "no welcome" 1)) echo #f)
       (let ((con (connect)))
         (ask con 'still-served)
         (close-connection! con)))
      ;; A close handler that fails harms nobody.
      ((close-fails)
       (start-server address 5 #f #f echo (lambda (con) (raise-it 'no-farewell)))
       (close-connection! (connect))
       (await (list 'log (string-append "the close handler failed: no-farewell (" path ")")))
       (ask (connect) 'still-served))
      ;; Handlers that end their own thread: the request is answered, and all comes to an end.
      ((threads-end)
       (let ((server (start-server address 5 #f
                                   (lambda (con) (say 'opened) (end-this-thread))
                                   (lambda (con x) (if (eq? x 'end) (end-this-thread) x))
                                   (lambda (con) (say 'closed) (end-this-thread)))))
         (let ((con (connect)))
           (ask con 'end)
           (ask con 'still-served)
           (close-connection! con)
           (await '(closed)))
         (stop-server! server)
         (wait-until-server-stopped server)
         (say 'over)))
      ;; user->key may fail, or return something that is not a key: that user is refused, others are served.
      ((user->key-fails)
       (start-server address 5
                     (lambda (user)
                       (cond ((string=? user "raises") (error "no database"))
                             ((string=? user "text") "a passphrase is not a key")
                             ((string=? user "nobody") #f)
                             (else (passphrase->key "secret"))))
                     #f echo #f)
       (for-each
         (lambda (user)
           (ask (open-connection! address user (passphrase->key "secret") #f #f) user))
         '("raises" "text" "nobody" "good")))
      ;; The handler that stops the server still answers; then all is over.
      ((stop-from-handler)
       (letrec ((server
                  (start-server address 5 #f #f
                                (lambda (con x) (stop-server! server) (say 'stopped) x)
                                #f)))
         (let ((con (connect)) (idle (connect)))
           (ask con 'last-words)
           (wait-until-server-stopped server)
           (say 'over)
           (ask con 'anybody?)
           (ask idle 'anybody?))))
      ;; stop-server! does not wait for handlers; wait-until-server-stopped does, close handlers among them.
      ((wait-waits)
       (let* ((gate (make-mutex))
              (server (start-server address 5 #f #f
                                    (lambda (con x) (say 'began) (mutex-lock! gate) (say 'ended) x)
                                    #f)))
         (mutex-lock! gate)
         (let ((con (connect)))
           (fork (lambda () (ask con 'slow)))
           (await '(began))
           (stop-server! server)
           (say 'stop-returned)
           (fork (lambda () (wait-until-server-stopped server) (say 'wait-returned)))
           (thread-sleep! 0.1)
           (say 'opening-the-gate)
           (mutex-unlock! gate)
           (await '(wait-returned)))))
      ;; What a handler may return.
      ((odd-values)
       (start-server address 5 #f #f
                     (lambda (con x)
                       (case x
                         ((none) (values))
                         ((two) (apply values '(1 2)))
                         ((record) (make-point 1 2))
                         ((procedure) (list 1 car))
                         ((circular) (let ((l (list 1 2))) (set-cdr! (cdr l) l) l))
                         ((unspecified) (if #f #f))
                         ((key) (list (passphrase->key "secret")))
                         ((condition) (list 'a (make-property-condition 'exn 'message "m")))
                         ((port) (current-output-port))
                         (else x)))
                     #f)
       (let ((con (connect)))
         (for-each (lambda (x) (ask con x))
                   '(none two record procedure circular unspecified key condition port fine))))
      ;; What a handler may raise.
      ((odd-errors)
       (start-server address 5 #f #f
                     (lambda (con x)
                       (case x
                         ((symbol) (raise-it 'oops))
                         ((list) (raise-it '(1 "two" #\3)))
                         ((false) (raise-it #f))
                         ((procedure) (raise-it car))
                         ((circular) (let ((l (list 1 2))) (set-cdr! (cdr l) l) (raise-it l)))
                         ((error) (error "with arguments" 1 "two" 'three))
                         ((located) (error 'somewhere "with a place"))
                         ((symbolic) (error 'just-a-symbol))
                         ((no-text) (abort (make-property-condition 'mine 'what 1)))
                         ((native) (vector-ref (vector 1 2) x))
                         ((remote) (request! con 'this-fails))
                         ((long) (error (make-string 300000 #\x)))
                         (else x)))
                     #f)
       (let ((con (open-connection! address #f #f (lambda (con x) (error "from the client" x)) #f)))
         (for-each (lambda (x) (ask con x))
                   '(symbol list false procedure circular error located symbolic no-text remote))
         (say 'native-fails (pair? (outcome con 'native)))
         (say 'long-is-cut (string-length (cadr (outcome con 'long))))
         (ask con 'fine)))
      ;; What a client cannot send, and what is not a connection.
      ((refused-arguments)
       (let ((server (start-server address 5 #f #f echo #f)) (con (connect)))
         (for-each (lambda (x) (ask con x))
                   (list car (make-point 1 2) (list 'a (vector 1 con)) (let ((l (list 1))) (set-cdr! l l) l)))
         (for-each (lambda (thunk) (say 'refused (handle-exceptions e ((condition-predicate 'type) e) (thunk) #f)))
                   (list (lambda () (request! 5 1))
                         (lambda () (close-connection! 5))
                         (lambda () (stop-server! con))
                         (lambda () (wait-until-server-stopped #f))
                         (lambda () (passphrase->key 'x))
                         (lambda () (remote-error-message 5))
                         (lambda () (start-server address 'many #f #f echo #f))
                         (lambda () (start-server address 5 #t #f echo #f))
                         (lambda () (open-connection! address #f #f 'handler #f))))
         (say 'predicates (connection? con) (connection? server) (connection? 5)
              (remote-error? 5) (remote-error? (make-property-condition 'remote 'message "m")))
         (ask con 'fine)))
      ;; Both handlers of a connection may use it: the open handler asks the client, the close handler learns that it
      ;; cannot.
      ((handlers-request)
       (start-server address 5 #f
                     (lambda (con) (say 'opened (outcome con 'who)))
                     echo
                     (lambda (con) (say 'closed (outcome con 'too-late))))
       (let ((con (open-connection! address #f #f (lambda (con x) (list x 'me)) #f)))
         (ask con 'first)
         (close-connection! con)
         (await '(closed (net)))))
      ;; Without a handler a request is answered with an error, at either end.
      ((no-handlers)
       (start-server address 5 #f (lambda (con) (say 'opened (outcome con 1))) #f #f)
       (let ((con (connect)))
         (await '(opened (remote "this end has no request handler")))
         (ask con 1)
         (close-connection! con)
         (ask con 1)
         (close-connection! con)))
      ;; A handler that closes its own connection: what waits there fails, and this side's close handler does not run.
      ((close-from-handler)
       (let ((server (start-server address 5 #f #f (lambda (con x) (close-connection! con) x) (lambda (con) (say 'never)))))
         (let ((con (open-connection! address #f #f #f (lambda (con) (say 'told)))))
           (ask con 1)
           (await '(told))
           (stop-server! server)
           (wait-until-server-stopped server)
           (say 'over))))
      ;; A client that asks and reads nothing does not keep the server from stopping. Somebody else plays it.
      ((deaf-client)
       (bokbok-flush-timeout 0.3)
       (let* ((asked 0)
              (server (start-server address 5 #f #f
                                    (lambda (con x)
                                      (set! asked (+ asked 1))
                                      (say 'asked asked)
                                      (make-string 4000000 #\x))
                                    (lambda (con) (say 'never)))))
         (say 'listening)
         (await '(asked 3))
         (stop-server! server)
         (wait-until-server-stopped server)
         (say 'over)))
      ;; A log that fails takes nothing with it: the connection that it tells of ends, and the server stops.
      ((log-fails)
       (bokbok-log (lambda (line) (error "the disk is full")))
       (let* ((key (passphrase->key "secret"))
              (server (start-server address 5 (lambda (user) (error "no database")) #f echo #f)))
         (ask (open-connection! address "user" key #f #f) 1)
         (stop-server! server)
         (wait-until-server-stopped server)
         (say 'over)))
      ;; Times without end, and of more milliseconds than the scheduler can count, are no limit; what is no time is refused.
      ((endless-times)
       (for-each
         (lambda (endless)
           (parameterize ((bokbok-hello-timeout endless) (bokbok-connect-timeout endless) (bokbok-flush-timeout endless))
             (let* ((key (passphrase->key "secret"))
                    (server (start-server '(tcp "127.0.0.1" 0) 5 (lambda (user) key) #f echo #f))
                    (con (open-connection! (list 'tcp "localhost" (caddr (server-addr server))) "user" key #f #f)))
               (ask con 'in-time)
               (close-connection! con)
               (stop-server! server)
               (wait-until-server-stopped server))))
         '(+inf.0 1e300 3e6))
       (for-each
         (lambda (time)
           (say 'refused
                (handle-exceptions e ((condition-predicate 'type) e) (bokbok-hello-timeout time) #f)
                (handle-exceptions e ((condition-predicate 'type) e) (bokbok-flush-timeout time) #f)))
         (list (string->number "+nan.0") 0 -1 'soon #f)))
      (else (error "no such scene" scene))))

  ;; `raise` of an object that is not a condition.
  (define (raise-it x) (abort x))

  (play)
  (exit 0))
