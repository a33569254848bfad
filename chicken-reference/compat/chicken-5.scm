;;;; What CHICKEN 5 names differently: everything this code uses of the core, under one set of names.
;;;
;;; The sources import this module and nothing else of the system, so that they do not know which CHICKEN they
;;; are compiled by. It knows names; it holds no behaviour. Its twin is compat/chicken-4.scm.

(module bokbok-compat
  (now-ms chicken-dialect collects-symbols? qualified-name structure-name write-keyword is-keyword?)
  (import scheme
          (chicken base) (chicken fixnum) (chicken module)
          (chicken foreign) (chicken condition) (chicken blob) (chicken port) srfi-4
          (only (chicken keyword) keyword? keyword->string)
          (only (chicken format) sprintf) (only (chicken process-context) program-name)
          (only (chicken time) current-process-milliseconds)
          (only (chicken memory representation) record-instance-type))
  (reexport (chicken base) (chicken module) (chicken fixnum) (chicken foreign) (chicken condition) (chicken blob)
            (chicken port) srfi-4
            (only (chicken format) sprintf fprintf printf)
            (only (chicken keyword) keyword->string string->keyword)
            (only (chicken memory representation) record-instance?)
            (only (chicken process-context) program-name))

  ;; The scheduler's own clock, in milliseconds: a limit handed to it is a time of this clock.
  (define (now-ms) (current-process-milliseconds))

  ;; Whose `write` the bytes follow, and what a puppet says of itself.
  (define chicken-dialect 'chicken-5)

  ;; CHICKEN 5 drops symbols that nothing refers to.
  (define (collects-symbols?) #t)

  ;; The name of the symbol that is read from `##` and this text; #f if there is none.
  (define (qualified-name text) (string-append "##" text))

  (define (is-keyword? x) (keyword? x))

  ;; A keyword as CHICKEN 4 writes it, which is what travels: `foo:`. CHICKEN 5's own `write` prints `#:foo`.
  (define (write-keyword k out)
    (write (string->symbol (keyword->string k)) out)
    (write-char #\: out))

  ;; "point" for a record of type `point`, whose name may carry its module (`geometry#point`).
  (define (structure-name x)
    (let ((type (record-instance-type x)))
      (if (symbol? type) (symbol->string type) "record"))))

;; Threads: the srfi-18 egg, or the stand-in.
(cond-expand
  (bokbok-use-srfi-18
   (module bokbok-threads ()
     (import scheme (chicken module) srfi-18)
     (reexport (only srfi-18
                     make-thread thread? thread-start! thread-yield! thread-sleep! current-thread
                     make-mutex mutex? mutex-lock! mutex-unlock!
                     make-condition-variable condition-variable? condition-variable-signal!
                     condition-variable-broadcast!))))
  (else
   (include "stand-ins/srfi-18.scm")
   (module bokbok-threads ()
     (import scheme (chicken module) bokbok-srfi-18)
     (reexport bokbok-srfi-18))))
