;;;; The arguments of the two programs for the conformance service: ADDRESS [USER PASSPHRASE-FILE].

(module bokbok-arguments (argument user passphrase list-address)
  (import scheme bokbok-compat)
  (cond-expand
    (chicken-5 (import (only (chicken process-context) command-line-arguments)
                       (only (chicken io) read-string)))
    (else (import (only extras read-string))))

  (define args (command-line-arguments))
  (define (argument i) (and (> (length args) i) (list-ref args i)))

  (unless (memv (length args) '(1 3))
    (fprintf (current-error-port) "usage: ~A ADDRESS [USER PASSPHRASE-FILE]~%" (program-name))
    (exit 2))

  (define (user) (argument 1))

  ;; Without the end of line that an editor puts there.
  (define (passphrase)
    (let* ((text (with-input-from-file (argument 2) (lambda () (read-string #f))))
           (n (string-length text)))
      (if (and (> n 0) (char=? #\newline (string-ref text (- n 1))))
          (substring text 0 (- n 1))
          text)))

  ;; HOST:PORT or a path, as `start-server` takes it by its documentation.
  (define (list-address text)
    (let loop ((i (- (string-length text) 1)))
      (cond ((< i 0) (list 'unix text))
            ((and (char=? #\: (string-ref text i)) (string->number (substring text (+ i 1) (string-length text))))
             => (lambda (port) (list 'tcp (substring text 0 i) port)))
            (else (loop (- i 1)))))))
