;;;; What CHICKEN 4 names differently: everything this code uses of the core, under one set of names.
;;;
;;; The sources import this module and nothing else of the system, so that they do not know which CHICKEN they
;;; are compiled by. It knows names; it holds no behaviour. Its twin is compat/chicken-5.scm.

(module bokbok-compat
  (now-ms chicken-dialect collects-symbols? qualified-name structure-name write-keyword is-keyword?)
  (import scheme chicken foreign
          (only lolevel record-instance-type))
  (use lolevel extras ports srfi-4)
  (reexport chicken foreign srfi-4
            (only ports call-with-output-string with-output-to-string with-input-from-string)
            (only extras sprintf fprintf printf)
            (only lolevel record-instance?))

  ;; The scheduler's own clock, in milliseconds: a limit handed to it is a time of this clock.
  (define (now-ms) (current-milliseconds))

  ;; Whose `write` the bytes follow, and what a puppet says of itself.
  (define chicken-dialect 'chicken-4-exact)

  ;; CHICKEN 4 keeps every symbol for ever, unless the program was started with -:w.
  (define (collects-symbols?) (foreign-value "C_enable_gcweak" bool))

  ;; The name of the symbol that is read from `##` and this text (`sys#foo`: the namespace's length as a byte, the
  ;; namespace, the rest); #f if there is none.
  (define (qualified-name text)
    (let loop ((i 0))
      (cond ((or (= i (string-length text)) (> i 31)) #f)
            ((char=? #\# (string-ref text i))
             (string-append (string (integer->char i)) (substring text 0 i)
                            (substring text (+ i 1) (string-length text))))
            (else (loop (+ i 1))))))

  ;; CHICKEN 4's own `keyword?` looks at the first byte of the name, which the symbol of no name has not: its answer
  ;; then depends on what lies behind it in memory, and so does what its `write` prints.
  (define no-name (string->symbol ""))
  (define (is-keyword? x) (and (symbol? x) (not (eq? x no-name)) (keyword? x)))

  ;; A keyword as it travels: `foo:`, whatever style the program has chosen.
  (define (write-keyword k out)
    (parameterize ((keyword-style suffix:)) (write k out)))

  ;; "point" for a record of type `point`.
  (define (structure-name x)
    (let ((type (record-instance-type x)))
      (if (symbol? type) (symbol->string type) "record"))))

;; Threads: a unit of CHICKEN 4's core.
(module bokbok-threads ()
  (import scheme chicken)
  (use srfi-18)
  (reexport (only srfi-18
                  make-thread thread? thread-start! thread-yield! thread-sleep! current-thread
                  make-mutex mutex? mutex-lock! mutex-unlock!
                  make-condition-variable condition-variable? condition-variable-signal!
                  condition-variable-broadcast!)))
