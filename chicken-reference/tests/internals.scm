;;;; Lets the project's tests drive what users do not see: the reader and the writer of datums, and a connection
;;;; whose random bytes are given. One command a line on standard input, one or more lines of answer.
;;;
;;;   (read HEX)            (datum TAGGED USED) | (nothing) | (error MESSAGE)
;;;   (write TAGGED)        (bytes HEX NATIVE-HEX): what this egg writes, and what CHICKEN's own `write` does
;;;   (fuzz COUNT SEED)     (fuzzed COUNT) | (differs ...): random datums, both writers, both readers
;;;   (connect ADDRESS USER KEY RANDOM), (listen ADDRESS USER KEY RANDOM)
;;;                         USER, KEY and RANDOM in hex, or #f; (ok ADDRESS)
;;;   (request DATUM)       later (result response DATUM) | (result remote MESSAGE) | (result network)
;;;   (respond N DATUM), (fail N MESSAGE)
;;;                         of the N-th request, which was announced by (asked N DATUM)
;;;
;;; Also unasked: (opened USER), (closed). Bytes are hex.

(module bokbok-internals ()
  (import scheme bokbok-compat bokbok-threads bokbok-waiting
          bokbok bokbok-wire bokbok-system bokbok-datum-reader bokbok-datum-writer bokbok-errors)
  (cond-expand
    (chicken-5 (import (only (chicken io) read-line)))
    (else (import (only extras read-line))))

  (define (say . parts)
    (write parts)
    (newline)
    (flush-output))

  (define (unhex text)
    (let* ((n (quotient (string-length text) 2)) (s (make-string n)))
      (do ((i 0 (+ i 1))) ((= i n) s)
        (byte-set! s i (string->number (substring text (* 2 i) (+ 2 (* 2 i))) 16)))))

  (define (hex s)
    (with-output-to-string
      (lambda ()
        (do ((i 0 (+ i 1))) ((= i (string-length s)))
          (let ((n (byte-ref s i)))
            (when (< n 16) (display "0"))
            (display (number->string n 16)))))))

  ;; Datums of the recorded vectors, as s-expressions: (string HEX), (list (TAGGED ...)), (flonum HEX-OF-8-BYTES) ...

  (define flonum-bytes
    (foreign-lambda* void ((double x) (scheme-pointer to)) "memcpy(to, &x, 8);"))
  (define bytes-flonum
    (foreign-lambda* double ((scheme-pointer from)) "double x; memcpy(&x, from, 8); C_return(x);"))

  (define number-vectors
    `((u8vector ,u8vector? ,u8vector->list ,list->u8vector) (s8vector ,s8vector? ,s8vector->list ,list->s8vector)
      (u16vector ,u16vector? ,u16vector->list ,list->u16vector)
      (s16vector ,s16vector? ,s16vector->list ,list->s16vector)
      (u32vector ,u32vector? ,u32vector->list ,list->u32vector)
      (s32vector ,s32vector? ,s32vector->list ,list->s32vector)
      (f32vector ,f32vector? ,f32vector->list ,list->f32vector)
      (f64vector ,f64vector? ,f64vector->list ,list->f64vector)))

  (define (build tagged)
    (let ((type (car tagged)) (v (and (pair? (cdr tagged)) (cadr tagged))))
      (case type
        ((string) (unhex v))
        ((symbol) (string->symbol (unhex v)))
        ((keyword) (string->keyword (unhex v)))
        ((blob) (string->blob (unhex v)))
        ((fixnum boolean) v)
        ((flonum) (bytes-flonum (unhex v)))
        ((char) (integer->char v))
        ((list) (map build v))
        ((vector) (list->vector (map build v)))
        ((dotted)
         (let loop ((items v))
           (if (null? items) (build (caddr tagged)) (cons (build (car items)) (loop (cdr items))))))
        ((eof) #!eof)
        ((unspecified) (void))
        ((procedure) car)
        ((circular) (let ((x (list 1 2 3))) (set-cdr! (cddr x) x) (list "a" x)))
        ((circular-car) (let ((x (list 1 2 3))) (set-car! (cdr x) (vector x)) (list "a" x)))
        ((nested) (let loop ((n v) (x '())) (if (= n 0) x (loop (- n 1) (list x)))))
        (else ((cadddr (assq type number-vectors)) (map build v))))))

  (define (describe x)
    (define (number-vector)
      (let loop ((left number-vectors))
        (cond ((null? left) (list 'other (shown x)))
              (((cadar left) x) (list (caar left) (map describe ((caddar left) x))))
              (else (loop (cdr left))))))
    (cond ((string? x) (list 'string (hex x)))
          ((is-keyword? x) (list 'keyword (hex (keyword->string x))))
          ((symbol? x) (list 'symbol (hex (symbol->string x))))
          ((blob? x) (list 'blob (hex (blob->string x))))
          ((fixnum? x) (list 'fixnum x))
          ((boolean? x) (list 'boolean x))
          ((flonum? x) (let ((s (make-string 8))) (flonum-bytes x s) (list 'flonum (hex s))))
          ((number? x) (list 'othernum (number->string x)))
          ((char? x) (list 'char (char->integer x)))
          ((list? x) (list 'list (map describe x)))
          ((pair? x)
           (let loop ((x x) (items '()))
             (if (pair? x)
                 (loop (cdr x) (cons (describe (car x)) items))
                 (list 'dotted (reverse items) (describe x)))))
          ((vector? x) (list 'vector (map describe (vector->list x))))
          ((eof-object? x) '(eof))
          ((eq? x (void)) '(unspecified))
          (else (number-vector))))

  (define (parse bytes)
    (call-with-values (lambda () (read-datum bytes 0 (string-length bytes))) (lambda (x end) x)))

  (define (read-command text)
    (let ((s (unhex text)))
      (condition-case
          (call-with-values (lambda () (read-datum s 0 (string-length s)))
            (lambda (x end)
              (if (eq? x nothing) (say 'nothing) (say 'datum (describe x) end))))
        (e (bokbok-datum) (say 'error (datum-error-message e))))))

  (define (native x)
    (with-output-to-string (lambda () (write x))))

  (define (write-command tagged)
    (let ((x (build tagged)))
      (condition-case (let ((bytes (write-datum x 16777216 10000 "message")))
                        (say 'bytes (hex bytes) (hex (native x))))
        (e (bokbok-unwritable) (say 'error (unwritable-message e))))))

  ;; Random datums by a generator of our own, so that a seed says what was tried.
  (define state 1)
  (define (random-below n)
    (set! state (modulo (+ (* state 1103515245) 12345) 2147483648))
    (modulo (quotient state 65536) n))

  (define (random-text)
    (let* ((n (random-below 6)) (s (make-string n)))
      (do ((i 0 (+ i 1))) ((= i n) s)
        (byte-set! s i (if (= 0 (random-below 3)) (random-below 256) (+ 32 (random-below 95)))))))

  (define (random-datum depth)
    (case (random-below (if (> depth 0) 12 9))
      ((0) (random-text))
      ((1) (- (random-below 32768) 16384))
      ((2) (/ (exact->inexact (- (random-below 32768) 16384)) 64.0))
      ((3) (integer->char (random-below 256)))
      ((4) (= 0 (random-below 2)))
      ((5) '())
      ((6) (string->symbol (string-append (random-text) "x")))
      ((7) (string->blob (random-text)))
      ((8) (list->u8vector (list (random-below 256) (random-below 256))))
      ((9) (let loop ((n (random-below 5)))
             (if (= n 0)
                 (if (= 0 (random-below 4)) (random-datum 0) '())
                 (cons (random-datum (- depth 1)) (loop (- n 1))))))
      (else (let loop ((n (random-below 4)) (items '()))
              (if (= n 0) (list->vector items) (loop (- n 1) (cons (random-datum (- depth 1)) items)))))))

  ;; What CHICKEN's own `read` makes of the bytes; #f if it cannot (CHICKEN 4 writes symbols that it does not read).
  (define (native-read bytes)
    (condition-case (let ((x (with-input-from-string bytes read)))
                      (and (not (eof-object? x)) (describe x)))
      (e () #f)))

  (define (fuzz count seed)
    (set! state seed)
    (let loop ((i 0))
      (if (= i count)
          (say 'fuzzed count)
          (let* ((x (random-datum 4)) (mine (write-datum x 16777216 10000 "x")) (theirs (native x)))
            (cond ((not (string=? mine theirs)) (say 'differs 'writer (hex mine) (hex theirs)))
                  ((let ((read (native-read theirs)))
                     (and read (not (equal? read (condition-case (describe (parse mine)) (e () 'error))))))
                   (say 'differs 'reader (hex mine)))
                  (else (loop (+ i 1))))))))

  ;; A connection with given random bytes

  (define con #f)
  (define asked '#())                   ; N-th request: its ticket, a pair (MUTEX . CONDITION-VARIABLE) and its answer
  (define asked-mutex (make-mutex))
  (define asked-changed (make-condition-variable))
  (define answers '())                  ; alist from N to a thunk

  (define (given-bytes text)
    (let ((left (unhex text)))
      (lambda (n)
        (if (<= n (string-length left))
            (let ((bytes (substring left 0 n)))
              (set! left (substring left n (string-length left)))
              bytes)
            (make-string n #\null)))))  ; what a session does not prescribe does not reach the wire

  (define (handle c datum)
    (mutex-lock! asked-mutex)
    (let ((n (vector-length asked)))
      (set! asked (make-vector (+ n 1) #f))
      (say 'asked n (hex (write-datum datum 16777216 10000 "x")))
      (let wait ()
        (let ((answer (assv n answers)))
          (if answer
              (begin (mutex-unlock! asked-mutex) ((cdr answer)))
              (begin (mutex-unlock! asked-mutex asked-changed) (mutex-lock! asked-mutex) (wait)))))))

  (define (answer! n thunk)
    (mutex-lock! asked-mutex)
    (set! answers (cons (cons n thunk) answers))
    (condition-variable-broadcast! asked-changed)
    (mutex-unlock! asked-mutex))

  (define (opened c)
    (set! con c)
    (say 'opened (and (connection-user c) (hex (connection-user c)))))

  (define (closed c) (say 'closed))

  (define (request-command text)
    (let ((message (parse (unhex text))))
      (thread-start!
        (make-thread
          (lambda ()
            (handle-exceptions e
              (if (remote-error? e)
                  (say 'result 'remote (hex (remote-error-message e)))
                  (say 'result 'network))
              (let ((x (request! con message)))
                (say 'result 'response (hex (write-datum x 16777216 10000 "x"))))))))))

  (define (obey command)
    (let ((args (cdr command)))
      (case (car command)
        ((read) (read-command (car args)))
        ((write) (write-command (car args)))
        ((fuzz) (fuzz (car args) (cadr args)))
        ((connect)
         (random-source (given-bytes (cadddr args)))
         (let ((user (cadr args)) (key (caddr args)))
           (set! con (open-connection! (car args) (and user (unhex user)) (and key (bytes->key (unhex key)))
                                       handle closed)))
         (say 'ok (connection-addr con)))
        ((listen)
         (random-source (given-bytes (cadddr args)))
         (let* ((user (cadr args)) (key (caddr args))
                (server (start-server (car args) 5
                                      (and user (lambda (u) (and key (string=? u (unhex user)) (bytes->key (unhex key)))))
                                      opened handle closed)))
           (say 'ok (server-addr server))))
        ((request) (request-command (car args)))
        ((respond) (let ((x (parse (unhex (cadr args))))) (answer! (car args) (lambda () x))))
        ((fail) (let ((text (unhex (cadr args)))) (answer! (car args) (lambda () (error text)))))
        (else (say 'error "unknown command")))))

  (define stdin-waiter (make-waiter))
  (let loop ()
    (wait-for-fd! stdin-waiter 0 #:input #f)
    (let ((line (read-line)))
      (unless (eof-object? line)
        (obey (with-input-from-string line read))
        (loop)))))
