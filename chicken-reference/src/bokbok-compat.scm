;;;; The unit beneath bokbok: one set of names for both CHICKENs, threads, and waits that can be cancelled.
;;;
;;; Module `bokbok-compat` is the core's names, `bokbok-threads` SRFI 18, wherever that comes from.
;;;
;;; A compilation unit of its own because interrupts are disabled in it: what touches the scheduler's lists must
;;; not be interrupted by the scheduler.

(declare (disable-interrupts) (uses scheduler))

(cond-expand
  (chicken-5 (include "compat/chicken-5.scm"))
  (else (include "compat/chicken-4.scm")))

(include "src/waiting.scm")
