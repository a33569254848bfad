;;;; bokbok: remote procedure calls by s-expressions, encrypted or not, over TCP or Unix sockets.
;;;
;;; The unit of the whole egg. Its modules, lowest first; each opens with what it knows. Only `bokbok`, the last, is
;;; for users.

(cond-expand
  ((or chicken-5 bokbok-linked))
  (else (require-library bokbok-compat)))
(import bokbok-compat)

(include "src/system.scm")
(cond-expand (bokbok-use-tweetnacl) (else (include "stand-ins/tweetnacl.scm")))
(cond-expand (bokbok-use-matchable) (else (include "stand-ins/matchable.scm")))
(cond-expand (bokbok-use-socket) (else (include "stand-ins/socket.scm")))
(include "src/errors.scm")
(include "src/collections.scm")
(include "src/datum-reader.scm")
(include "src/datum-writer.scm")
(include "src/address.scm")
(include "src/net.scm")
(include "src/boxes.scm")
(include "src/wire.scm")
(include "src/connection.scm")
(include "src/server.scm")

(module bokbok
  ()
  (import scheme bokbok-compat bokbok-wire bokbok-errors bokbok-connection bokbok-server bokbok-system)
  (reexport
    ;; The API of the egg, as documented
    (only bokbok-wire passphrase->key)
    (only bokbok-server open-connection! start-server stop-server! wait-until-server-stopped)
    (only bokbok-connection connection? connection-user connection-addr close-connection! request!)
    (only bokbok-errors remote-error? remote-error-message)
    ;; Beyond it: limits, guards, the log, the address as bound
    (only bokbok-server server-addr)
    (only bokbok-connection
          bokbok-packet-limit bokbok-depth-limit bokbok-name-limit bokbok-running-limit bokbok-waiting-limit
          bokbok-hello-timeout bokbok-connect-timeout bokbok-flush-timeout bokbok-guards)
    (only bokbok-system bokbok-log)))
