;;;; Plays the calibration script: a client of the documented API alone, for the real egg
;;;; on CHICKEN 4, and for ours on 4 and 5.
;;;
;;;   bokbok-interop calibrate script > script
;;;   csc calibrate-client.scm && ./calibrate-client ADDRESS USER PASSPHRASE-FILE < script
;;;   ./calibrate-client ADDRESS < script                                (insecure)
;;;
;;; Every datum of standard input is a request, on each of two connections, one after the other. Answers and errors are
;;; printed. A line that cannot be sent is reported and left out. Its own request handler is the conformance service.

(cond-expand
  (chicken-5
   (import scheme (chicken base) (chicken condition) (chicken format) (chicken io) (chicken process-context) bokbok))
  (else (use bokbok extras)))
(include "service.scm")

(define args (command-line-arguments))
(unless (memv (length args) '(1 3))
  (fprintf (current-error-port) "usage: calibrate-client ADDRESS [USER PASSPHRASE-FILE] < SCRIPT~%")
  (exit 2))
(define address (car args))
(define user (and (> (length args) 2) (cadr args)))

(define (first-line file)
  (with-input-from-file file read-line))

(define key (and user (passphrase->key (first-line (caddr args)))))

(define (read-all)
  (let loop ((datums '()))
    (let ((datum (read)))
      (if (eof-object? datum) (reverse datums) (loop (cons datum datums))))))

(define (play con datum)
  (handle-exceptions exn
      (printf "~S: failed: ~A~%" datum
              (if (remote-error? exn)
                  (remote-error-message exn)
                  ((condition-property-accessor 'exn 'message "no message") exn)))
    (let ((answer (request! con datum)))
      (printf "~S => ~S~%" datum answer)))
  (flush-output))

(define script (read-all))

(do ((n 1 (+ n 1))) ((> n 2))
  (let ((con (open-connection! address user key serve void)))
    (for-each (lambda (datum) (play con datum)) script)
    (close-connection! con)))
