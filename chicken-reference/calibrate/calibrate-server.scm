;;;; The conformance service: a server of the documented API alone, for the real egg on
;;;; CHICKEN 4, and for ours on 4 and 5.
;;;
;;;   csc calibrate-server.scm && ./calibrate-server PORT USER PASSPHRASE-FILE
;;;   ./calibrate-server PORT                                            (insecure)
;;;
;;; Listens on every address. Stop it with Ctrl-C.

(cond-expand
  (chicken-5
   (import scheme (chicken base) (chicken format) (chicken io) (chicken process-context) bokbok))
  (else (use bokbok extras)))
(include "service.scm")

(define args (command-line-arguments))
(define port (and (memv (length args) '(1 3)) (string->number (car args))))
(unless port
  (fprintf (current-error-port) "usage: calibrate-server PORT [USER PASSPHRASE-FILE]~%")
  (exit 2))
(define user (and (> (length args) 2) (cadr args)))

(define (first-line file)
  (with-input-from-file file read-line))

(define key (and user (passphrase->key (first-line (caddr args)))))

(define server
  (start-server (list 'tcp #f port) 10
                (and user (lambda (name) (and (string=? name user) key)))
                void serve void))
(printf "listening on port ~S~%" port)
(flush-output)
(wait-until-server-stopped server)
