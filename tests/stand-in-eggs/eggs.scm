;;;; What the stand-in eggs require: `socket` and `tweetnacl`, and `srfi-18` in CHICKEN 5. MADE UP FOR REHEARSAL, as they are.
;;;
;;; Compile with `-D bokbok-use-socket` and so on for those that are installed; the others' parts are compiled in, from
;;; chicken-reference/stand-ins, which is what those are for.

(cond-expand
  (chicken-5)
  (else (require-library bokbok-compat)))
(import bokbok-compat)

(cond-expand (bokbok-use-tweetnacl) (else (include "stand-ins/tweetnacl.scm")))
(cond-expand (bokbok-use-socket) (else (include "stand-ins/socket.scm")))
