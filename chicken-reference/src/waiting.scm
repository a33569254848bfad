;;;; Waiting for a file descriptor without holding up the other threads, and being called back from it.
;;;
;;; CHICKEN's scheduler can block one thread on a descriptor, with a time limit; neither SRFI 18 nor the socket egg
;;; lets another thread end that wait. A connection that is closed, or a server that is stopped, needs just that.
;;; A `waiter` belongs to one thread at a time; once cancelled it stays so. Compiled with interrupts disabled.

(module bokbok-waiting
  (make-waiter waiter-cancelled? cancel-wait! wait-for-fd! limit-after thread-over?)
  (import scheme bokbok-compat)

  (define-record-type bokbok-waiter
    (%make-waiter thread cancelled) waiter?
    (thread waiter-thread waiter-thread-set!)
    (cancelled waiter-cancelled? waiter-cancelled-set!))

  (define (make-waiter) (%make-waiter #f #f))

  ;; Blocks the calling thread until `fd` is ready for `direction` (#:input or #:output), the clock (`now-ms`)
  ;; reaches `limit` (a time, or #f), or the waiter is cancelled. Returns `ready`, `timeout` or `cancelled`. `ready`
  ;; may be wrong (a signal woke the thread): whoever reads or writes then must not block.
  (define (wait-for-fd! waiter fd direction limit)
    (cond ((waiter-cancelled? waiter) 'cancelled)
          ((and limit (>= (now-ms) limit)) 'timeout)
          (else
           (##sys#call-with-current-continuation
             (lambda (return)
               (let ((self ##sys#current-thread))
                 (##sys#setslot self 1
                   (lambda ()
                     (waiter-thread-set! waiter #f)
                     (return (cond ((waiter-cancelled? waiter) 'cancelled)
                                   ((##sys#slot self 13) 'timeout)
                                   (else 'ready)))))
                 (waiter-thread-set! waiter self)
                 (when limit (##sys#thread-block-for-timeout! self limit))
                 (##sys#thread-block-for-i/o! self fd direction)
                 (##sys#schedule)))))))

  ;; The scheduler hands its nearest limit to the system as an int of milliseconds, and takes no infinity at all: a wait
  ;; for more seconds than this has no limit.
  (define longest 1000000)

  ;; The time of the clock that is `seconds` away; #f: no limit.
  (define (limit-after seconds)
    (and seconds (< seconds longest) (+ (now-ms) (* 1000.0 seconds))))

  ;; Whether a thread has run to its end, or was ended.
  (define (thread-over? thread) (and (memq (##sys#slot thread 3) '(dead terminated)) #t))

  ;; Ends the wait that is under way, and every later one, at once.
  (define (cancel-wait! waiter)
    (waiter-cancelled-set! waiter #t)
    (let ((thread (waiter-thread waiter)))
      (when thread (##sys#thread-unblock! thread)))))
