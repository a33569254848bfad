;;;; The egg's demo, server side: answers pings, and calls the client back when asked to.
;;;
;;;   bokbok-server [ADDRESS [SECONDS]]     ADDRESS as for `start-server`: HOST:PORT or a path
;;;
;;; SECONDS is the time between callbacks, 1 if not given. Stop it with Ctrl-C.

(cond-expand
  (chicken-5
   (import scheme (chicken base) (chicken format) (chicken process-context)
           bokbok bokbok-threads))      ; or srfi-18, where that egg is installed
  (bokbok-linked (import scheme chicken extras srfi-18 bokbok))
  (else (use extras srfi-18 bokbok)))

(define args (command-line-arguments))
(define address (if (pair? args) (car args) "127.0.0.1:4444"))
(define pause
  (cond ((< (length args) 2) 1)
        ((string->number (cadr args)))
        (else (error "SECONDS is a number" (cadr args)))))

;; Stands for a database of users.
(define (user->key user)
  (and (string=? user "myuser") (passphrase->key "mypassphrase")))

(define (opened con)
  (printf "~A connected from ~S~%" (connection-user con) (connection-addr con))
  (flush-output))

(define (closed con)
  (printf "~A is gone~%" (connection-user con))
  (flush-output))

(define (call-back con)
  (for-each (lambda (n)
              (thread-sleep! pause)
              (request! con (list "callback" n)))
            '("1" "2" "3")))

;; Runs in a thread of its own for every request; what it returns is the answer.
(define (handle con request)
  (cond ((and (pair? request) (equal? (car request) "ping"))
         (list "pong" (cadr request)))
        ((equal? request '("asynch"))
         (thread-start! (make-thread (lambda () (call-back con))))
         #t)
        (else (error "Unrecognised request" request))))

(define server (start-server address 10 user->key opened handle closed))
(printf "listening at ~S~%" (server-addr server))
(flush-output)
(wait-until-server-stopped server)
