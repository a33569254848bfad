;;;; Sends datums to the conformance service, by the documented API alone: for a person, and for finding a real egg's
;;;; format. It also answers what the server asks.
;;;
;;;   service-client ADDRESS [USER PASSPHRASE-FILE] < DATUMS
;;;
;;; Each datum of standard input is one request; its answer, or its error, is one line of standard output.

(cond-expand (bokbok-real-egg (require-library bokbok)) (else))
(include "puppet/service.scm")
(include "puppet/arguments.scm")

(module bokbok-service-client ()
  (import scheme bokbok-compat bokbok bokbok-service bokbok-arguments)

  ;; All of them first: reading standard input would hold up the threads that answer the server.
  (define datums
    (let loop ((datum (read)) (datums '()))
      (if (eof-object? datum)
          (reverse datums)
          (loop (read) (cons datum datums)))))

  (define con
    (open-connection! (argument 0) (user) (and (user) (passphrase->key (passphrase))) serve
                      (lambda (con) (printf "closed by the server~%") (flush-output))))

  (define (ask datum)
    (handle-exceptions e
      (if (remote-error? e)
          (printf "remote error: ~A~%" (remote-error-message e))
          (printf "error: ~A~%" ((condition-property-accessor 'exn 'message "unknown") e)))
      (printf "~S~%" (request! con datum)))
    (flush-output))

  (for-each ask datums)
  (close-connection! con))
