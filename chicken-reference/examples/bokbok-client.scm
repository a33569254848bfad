;;;; The egg's demo, client side: a ping, and three callbacks from the server over the same connection.
;;;
;;;   bokbok-client [ADDRESS [SECONDS]]     ADDRESS as for `open-connection!`: HOST:PORT or a path
;;;
;;; SECONDS is how long it waits for callbacks, 10 if not given.

(cond-expand
  (chicken-5
   (import scheme (chicken base) (chicken format) (chicken process-context)
           bokbok bokbok-threads))      ; or srfi-18, where that egg is installed
  (bokbok-linked (import scheme chicken extras srfi-18 bokbok))
  (else (use extras srfi-18 bokbok)))

(define args (command-line-arguments))
(define address (if (pair? args) (car args) "127.0.0.1:4444"))
(define wait
  (cond ((< (length args) 2) 10)
        ((string->number (cadr args)))
        (else (error "SECONDS is a number" (cadr args)))))

;; What `printf` returns travels as `()`.
(define (handle con request)
  (if (and (pair? request) (equal? (car request) "callback"))
      (begin
        (printf "callback ~A~%" (cadr request))
        (flush-output))
      (error "Unrecognised callback" request)))

(define (closed con)
  (printf "the server closed the connection~%")
  (flush-output))

(define con (open-connection! address "myuser" (passphrase->key "mypassphrase") handle closed))
(printf "~S~%" (request! con '("ping" "12345")))
(printf "~S~%" (request! con '("asynch")))
(flush-output)
(thread-sleep! wait)
(close-connection! con)
