;;;; The unit beneath bokbok: one set of names for both CHICKENs, threads, and waits that can be cancelled.
;;;
;;; A compilation unit of its own because interrupts are disabled in it: what touches the scheduler's lists must
;;; not be interrupted by the scheduler.

(declare (disable-interrupts) (uses scheduler))

(cond-expand
  (chicken-5 (include "compat/chicken-5.scm"))
  (else (include "compat/chicken-4.scm")))

(cond-expand
  ((and chicken-5 (not bokbok-use-srfi-18)) (include "stand-ins/srfi-18.scm"))
  (else))

(include "src/waiting.scm")

;; The threads of SRFI 18 under one name: CHICKEN 4's unit, the egg of CHICKEN 5, or the stand-in.
(module bokbok-threads ()
  (cond-expand
    ((and chicken-5 (not bokbok-use-srfi-18))
     (import scheme (chicken module) bokbok-srfi-18)
     (reexport bokbok-srfi-18))
    (chicken-5
     (import scheme (chicken module) srfi-18)
     (reexport (except srfi-18 raise)))
    (else
     (import scheme chicken)
     (use srfi-18)
     (reexport (except srfi-18 raise)))))
