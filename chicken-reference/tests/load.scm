;;;; A server and a client in one process, many requests at once: prints what was lost, and whether order changed.
;;;
;;;   load THREADS REQUESTS ADDRESS
;;;
;;; Each of the threads sends so many requests, all in flight at once; the handler answers later ones sooner.

(module bokbok-load ()
  (import scheme bokbok-compat bokbok-threads bokbok)
  (cond-expand
    (chicken-5 (import (only (chicken process-context) command-line-arguments)))
    (else))

  (define args (command-line-arguments))
  (define threads (string->number (car args)))
  (define requests (string->number (cadr args)))
  (define total (* threads requests))

  (define mutex (make-mutex))
  (define changed (make-condition-variable))
  (define right 0)
  (define wrong 0)
  (define running 0)
  (define most-running 0)
  (define order '())                    ; numbers in the order in which their answers came

  (define (locked thunk)
    (mutex-lock! mutex)
    (thunk)
    (condition-variable-broadcast! changed)
    (mutex-unlock! mutex))

  (define (wait-until ready?)
    (mutex-lock! mutex)
    (let loop ()
      (unless (ready?)
        (mutex-unlock! mutex changed)
        (mutex-lock! mutex)
        (loop)))
    (mutex-unlock! mutex))

  ;; No answer before all requests are there; then the last comes first.
  (define (handle con n)
    (locked (lambda ()
              (set! running (+ running 1))
              (set! most-running (max running most-running))))
    (wait-until (lambda () (or (= running total) (> most-running (- total 1)))))
    (thread-sleep! (/ (- total n) 2000))
    (* 2 n))

  (define server
    (start-server (caddr args) 10 (lambda (user) (passphrase->key "secret")) #f handle #f))
  (define con
    (open-connection! (server-addr server) "user" (passphrase->key "secret") #f #f))

  (define (ask n)
    (let ((answer (handle-exceptions e #f (request! con n))))
      (locked (lambda ()
                (set! order (cons n order))
                (if (eqv? answer (* 2 n)) (set! right (+ right 1)) (set! wrong (+ wrong 1)))))))

  (do ((t 0 (+ t 1))) ((= t threads))
    (thread-start!
      (make-thread
        (lambda ()
          (do ((r 1 (+ r 1))) ((= r requests))
            (thread-start! (make-thread (lambda () (ask (+ (* t requests) r))))))
          (ask (* t requests))))))

  (wait-until (lambda () (= total (+ right wrong))))
  (printf "right ~A wrong ~A in-flight ~A in-order ~A~%" right wrong most-running
          (let loop ((o order)) (or (null? (cdr o)) (and (> (car o) (cadr o)) (loop (cdr o))))))
  (close-connection! con)
  (stop-server! server)
  (wait-until-server-stopped server))
