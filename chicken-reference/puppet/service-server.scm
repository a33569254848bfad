;;;; Serves the conformance service by the documented API alone: for a person, and for finding a real egg's format.
;;;
;;;   service-server ADDRESS [USER PASSPHRASE-FILE]
;;;
;;; ADDRESS is HOST:PORT or the path of a Unix socket. Without a user it takes insecure connections. One end of line
;;; at the end of the passphrase's file is dropped. Runs until it is killed.

(cond-expand (bokbok-real-egg (require-library bokbok)) (else))
(include "puppet/service.scm")
(include "puppet/arguments.scm")

(module bokbok-service-server ()
  (import scheme bokbok-compat bokbok bokbok-service bokbok-arguments)

  ;; The real egg binds `(tcp HOST PORT)` and `(unix PATH)`.
  (define server
    (start-server (list-address (argument 0)) 10
                  (and (user) (lambda (name) (and (string=? name (user)) (passphrase->key (passphrase)))))
                  (lambda (con) (printf "opened ~S ~S~%" (connection-user con) (connection-addr con)) (flush-output))
                  serve
                  (lambda (con) (printf "closed~%") (flush-output))))
  (printf "listening~%")
  (flush-output)
  (wait-until-server-stopped server))
