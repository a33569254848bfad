;;;; Threads, mutexes and condition variables for a CHICKEN 5 without the srfi-18 egg.
;;;
;;; The scheduler itself is in CHICKEN's core; this is the part of SRFI 18 that bokbok needs, on top of it, under
;;; SRFI 18's names and with its meaning. It is compiled with interrupts disabled (see src/bokbok-compat.scm), so
;;; that no other thread runs between two of its expressions.

(module bokbok-srfi-18
  (make-thread thread? thread-start! thread-yield! thread-sleep! current-thread
   make-mutex mutex? mutex-lock! mutex-unlock!
   make-condition-variable condition-variable? condition-variable-signal! condition-variable-broadcast!)
  (import scheme bokbok-compat)

  ;; Slots of the core's thread structure that are used here.
  ;; 1: what it does when it runs next; 2: its results; 3: its state; 13: whether a time-out woke it.

  (define (current-thread) ##sys#current-thread)
  (define (thread? x) (##sys#structure? x 'thread))
  (define (thread-yield!) (##sys#thread-yield!))

  (define (make-thread thunk #!optional (name 'bokbok))
    (let ((thread (##sys#make-thread #f 'created name (##sys#slot ##sys#current-thread 9))))
      (##sys#setslot thread 1
        (lambda ()
          (thunk)
          (##sys#setslot thread 2 '())
          (##sys#thread-kill! thread 'dead)
          (##sys#schedule)))
      thread))

  (define (thread-start! x)
    (let ((thread (if (procedure? x) (make-thread x) x)))
      (unless (eq? 'created (##sys#slot thread 3))
        (##sys#error 'thread-start! "thread cannot be started a second time" thread))
      (##sys#add-to-ready-queue thread)
      thread))

  (define (limit-of seconds)
    (and seconds (+ (now-ms) (* 1000.0 seconds))))

  ;; The calling thread stops until somebody unblocks it or the clock reaches `limit`: #f says the clock did. The
  ;; scheduler may wake the first thread for a signal's sake, so that callers look again at what they wait for.
  (define (suspend! limit)
    (##sys#call-with-current-continuation
      (lambda (return)
        (let ((self ##sys#current-thread))
          (##sys#setslot self 1 (lambda () (return (not (##sys#slot self 13)))))
          (##sys#setislot self 13 #f)
          (if limit
              (##sys#thread-block-for-timeout! self limit)
              (##sys#setslot self 3 'sleeping))
          (##sys#schedule)))))

  (define (thread-sleep! seconds)
    (let ((limit (limit-of seconds)))
      (let loop ()
        (when (and (< (now-ms) limit) (suspend! limit)) (loop)))))

  ;; A line of waiting threads; each waits on a ticket of its own, a pair (thread . served?).
  (define-record-type bokbok-mutex
    (%make-mutex owner line) mutex?
    (owner mutex-owner mutex-owner-set!)
    (line mutex-line mutex-line-set!))

  (define-record-type bokbok-condition-variable
    (%make-condition-variable line) condition-variable?
    (line cv-line cv-line-set!))

  (define (make-mutex #!optional name) (%make-mutex #f '()))
  (define (make-condition-variable #!optional name) (%make-condition-variable '()))

  (define (serve! ticket)
    (set-cdr! ticket #t)
    (##sys#thread-unblock! (car ticket)))

  (define (without ticket line)
    (cond ((null? line) '())
          ((eq? ticket (car line)) (cdr line))
          (else (cons (car line) (without ticket (cdr line))))))

  (define (wait-for! ticket limit leave!)
    (let loop ()
      (cond ((cdr ticket) #t)
            ((and limit (>= (now-ms) limit)) (leave!) #f)
            (else (suspend! limit) (loop)))))

  ;; The mutex is handed from owner to owner: it is never free while somebody waits for it, so none can overtake.
  (define (mutex-lock! mutex #!optional timeout)
    (if (not (mutex-owner mutex))
        (begin (mutex-owner-set! mutex ##sys#current-thread) #t)
        (let ((ticket (cons ##sys#current-thread #f)))
          (mutex-line-set! mutex (append (mutex-line mutex) (list ticket)))
          (wait-for! ticket (limit-of timeout)
                     (lambda () (mutex-line-set! mutex (without ticket (mutex-line mutex))))))))

  (define (release! mutex)
    (let ((line (mutex-line mutex)))
      (if (null? line)
          (mutex-owner-set! mutex #f)
          (begin (mutex-line-set! mutex (cdr line))
                 (mutex-owner-set! mutex (caar line))
                 (serve! (car line))))))

  ;; With a condition variable: unlocks and waits in one step; #f says that the time-out passed first.
  (define (mutex-unlock! mutex #!optional cv timeout)
    (if (not cv)
        (begin (release! mutex) #t)
        (let ((ticket (cons ##sys#current-thread #f)))
          (cv-line-set! cv (append (cv-line cv) (list ticket)))
          (release! mutex)
          (wait-for! ticket (limit-of timeout)
                     (lambda () (cv-line-set! cv (without ticket (cv-line cv))))))))

  (define (condition-variable-signal! cv)
    (let ((line (cv-line cv)))
      (unless (null? line)
        (cv-line-set! cv (cdr line))
        (serve! (car line)))))

  (define (condition-variable-broadcast! cv)
    (let ((line (cv-line cv)))
      (cv-line-set! cv '())
      (for-each serve! line))))
