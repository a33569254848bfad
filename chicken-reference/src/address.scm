;;;; Addresses: the four forms of the API, and their canonical forms `(tcp HOST PORT)` and `(unix PATH)`.
;;;
;;; It knows texts; whether a host exists or a port is free it does not know.

(module bokbok-address
  (parse-address)
  (import scheme bokbok-compat bokbok-system bokbok-errors)

  (define unix-path-limit 107)          ; bytes: sun_path of Linux, less its final NUL

  (define (digits? s start)
    (and (< start (string-length s))
         (let loop ((i start))
           (or (= i (string-length s))
               (let ((c (string-ref s i)))
                 (and (char>=? c #\0) (char<=? c #\9) (loop (+ i 1))))))))

  (define (last-colon s)
    (let loop ((i (- (string-length s) 1)))
      (and (>= i 0) (if (char=? #\: (string-ref s i)) i (loop (- i 1))))))

  ;; The canonical form of an address. `where` names the caller in errors. A HOST of #f (all addresses) is for
  ;; servers: `bind?` says so.
  (define (parse-address where x bind?)
    (define (bad . why)
      (invalid-error where (apply string-append "bad address: " why)))

    (define (unbracketed host)
      (let ((n (string-length host)))
        (cond ((and (> n 1) (char=? #\[ (string-ref host 0)) (char=? #\] (string-ref host (- n 1))))
               (substring host 1 (- n 1)))
              (else host))))

    (define (tcp host port)
      (unless (and (fixnum? port) (<= 0 port 65535))
        (bad "a port is a number from 0 to 65535"))
      (cond ((not host)
             (unless bind? (bad "a client needs the name of a host"))
             (list 'tcp #f port))
            ((not (string? host)) (bad "the host of a TCP address is a string" (if bind? " or #f" "")))
            ((= 0 (string-length host)) (bad "the host is empty"))
            ((bytes-index host 0 0 (string-length host)) (bad "the host holds a NUL byte"))
            (else
             (let ((name (unbracketed host)))
               (when (and (not bind?) (= port 0)) (bad "a client cannot connect to port 0"))
               (list 'tcp name port)))))

    (define (unix path)
      (unless (string? path) (bad "the path of a Unix socket is a string"))
      (let ((n (string-length path)))
        (cond ((= n 0) (bad "the path is empty"))
              ((bytes-index path 0 0 n) (bad "the path holds a NUL byte"))
              ((> n unix-path-limit)
               (bad "the path of a Unix socket has at most " (number->string unix-path-limit) " bytes, this has "
                    (number->string n)))
              (else (list 'unix path)))))

    ;; The digits of a port from there on. Leading noughts are left out, for they may be many.
    (define (without-noughts s from)
      (if (and (< (+ from 1) (string-length s)) (char=? #\0 (string-ref s from)))
          (without-noughts s (+ from 1))
          (substring s from (string-length s))))

    ;; Digits behind the last colon and no slash: HOST:PORT. Any other string is a path.
    (define (text s)
      (let ((colon (last-colon s)))
        (if (and colon (not (bytes-index s 47 0 (string-length s))) (digits? s (+ colon 1)))
            (let ((host (substring s 0 colon))
                  (port (without-noughts s (+ colon 1))))
              (when (> (string-length port) 5) (bad "a port is a number from 0 to 65535"))
              (when (and (bytes-index host 58 0 (string-length host))
                         (not (char=? #\[ (string-ref host 0))))
                (bad "an IPv6 address before a port stands in brackets: \"[" host "]:" port "\""))
              (tcp (if (and bind? (= 0 colon)) #f host) (string->number port)))
            (unix s))))

    (cond ((string? x) (text x))
          ((and (list? x) (= 3 (length x)) (eq? 'tcp (car x))) (tcp (cadr x) (caddr x)))
          ((and (list? x) (= 2 (length x)) (eq? 'unix (car x))) (unix (cadr x)))
          (else (bad "expected \"HOST:PORT\", \"PATH\", (tcp HOST PORT) or (unix PATH)")))))
