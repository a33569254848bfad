;;;; The conditions that bokbok raises, and nothing else.
;;;
;;;   (exn i/o net bokbok)      the network: refused, closed, timed out, a peer that broke the protocol
;;;   (exn bokbok remote)       the other end's handler failed, or its answer cannot be read
;;;   (exn type bokbok)         an argument that cannot be used: a bad address, a value that cannot travel; nothing was sent

(module bokbok-errors
  (network-error remote-error remote-error? remote-error-message invalid-error
   condition-text one-line)
  (import scheme bokbok-compat)

  (define (fail where message kinds)
    (abort (apply make-composite-condition
                  (make-property-condition 'exn 'location where 'message message 'arguments '())
                  kinds)))

  (define (network-error where message)
    (fail where message (list (make-property-condition 'i/o) (make-property-condition 'net)
                              (make-property-condition 'bokbok))))

  (define (invalid-error where message)
    (fail where message (list (make-property-condition 'type) (make-property-condition 'bokbok))))

  (define (remote-error where message)
    (fail where (string-append "the other end answered with an error: " message)
          (list (make-property-condition 'bokbok)
                (make-property-condition 'remote 'message message))))

  (define is-remote? (condition-predicate 'remote))
  (define is-bokbok? (condition-predicate 'bokbok))
  (define remote-text (condition-property-accessor 'remote 'message ""))

  (define (remote-error? x) (and (condition? x) (is-remote? x) (is-bokbok? x)))

  (define (remote-error-message e)
    (unless (remote-error? e) (invalid-error 'remote-error-message "not a remote error"))
    (remote-text e))

  (define exn? (condition-predicate 'exn))
  (define exn-location (condition-property-accessor 'exn 'location #f))
  (define exn-message (condition-property-accessor 'exn 'message ""))
  (define exn-arguments (condition-property-accessor 'exn 'arguments '()))

  ;; What travels of a failure: a condition's message with its place and arguments, as CHICKEN prints them; the kinds and
  ;; properties of a condition without a message; any other object that was raised, as written. `show` turns an object into text and never fails.
  (define (condition-text x show)
    (cond
      ((not (condition? x)) (show x))
      ((not (exn? x)) (show (condition->list x)))
      (else
        (let ((where (exn-location x)) (what (exn-message x)) (args (exn-arguments x)))
          (string-append
            (if where (string-append "(" (show where) ") ") "")
            (if (string? what) what (show what))
            (if (and (pair? args) (list? args))
                (let loop ((args args) (text ": "))
                  (if (null? (cdr args))
                      (string-append text (show (car args)))
                      (loop (cdr args) (string-append text (show (car args)) " "))))
                ""))))))

  ;; For a log: bytes that could move a terminal's cursor are shown, not sent to it.
  (define (one-line text)
    (call-with-output-string
      (lambda (out)
        (let ((end (min 1000 (string-length text))))
          (do ((i 0 (+ i 1))) ((= i end))
            (let* ((c (string-ref text i)) (n (char->integer c)))
              (if (and (>= n 32) (< n 127))
                  (write-char c out)
                  (begin (display "\\x" out)
                         (when (< n 16) (write-char #\0 out))
                         (display (number->string n 16) out))))))))))
