;;;; Sockets by canonical address: listening, accepting, connecting, and the addresses at their ends.
;;;
;;; It uses the socket egg, or the stand-in of the same shape. It knows nothing of packets.

(module bokbok-net
  (connect-address bind-address bound-unbind! bound-socket bound-address
   accept-socket peer-address set-up-connection!
   receive-some! send-some socket-fileno close-socket half-close)
  (import scheme bokbok-compat bokbok-threads bokbok-system bokbok-errors bokbok-waiting)
  (cond-expand
    (bokbok-use-socket
     (cond-expand
       (chicken-5 (import socket))
       (else (use socket))))             ; CHICKEN 4's `import` alone loads nothing
    (else (import bokbok-socket)))

  (define (message-of e)
    ((condition-property-accessor 'exn 'message "unknown error") e))

  (define (address-text address)
    (if (eq? 'unix (car address))
        (cadr address)
        (let ((host (or (cadr address) "*")))
          (string-append (if (bytes-index host 58 0 (string-length host)) (string-append "[" host "]") host)
                         ":" (number->string (caddr address))))))

  (define (cannot where what address e)
    (network-error where (string-append "cannot " what " " (one-line (address-text address)) ": "
                                        (if (string? e) e (message-of e)))))

  ;; The numeric addresses of a host, best first. Only the calling thread waits.
  (define (resolve where what address limit)
    (define host (cadr address))
    (define (lines text)
      (let loop ((start 0) (found '()))
        (let ((end (bytes-index text 10 start (string-length text))))
          (if end
              (loop (+ end 1)
                    (let ((line (substring text start end)))
                      (if (member line found) found (cons line found))))
              (reverse found)))))
    (if (numeric-host? host)
        (list host)
        (let ((fd (start-resolver host)) (waiter (make-waiter)))
          (when (string? fd) (cannot where what address fd))
          (let loop ((text ""))
            (let ((state (wait-for-fd! waiter fd #:input limit)))
              (if (eq? state 'timeout)
                  (begin (close-fd fd) (cannot where what address "the look-up of the name timed out"))
                  (let ((more (resolver-read fd)))
                    (cond ((not more) (loop text))
                          ((string=? more "")
                           (close-fd fd)
                           (let ((found (lines text)))
                             (cond ((null? found) (cannot where what address "the name has no address"))
                                   ((char=? #\! (string-ref (car found) 0))
                                    (cannot where what address
                                            (substring (car found) 1 (string-length (car found)))))
                                   (else found))))
                          (else (loop (string-append text more)))))))))))

  ;; Tries `use` with each candidate until one does not raise an error; if none, the last one's error.
  (define (first-success where what address candidates use)
    (let loop ((left candidates) (last "no address"))
      (if (null? left)
          (cannot where what address last)
          (let ((result (condition-case (list (use (car left)))
                          (e (exn i/o net) e))))
            (if (pair? result) (car result) (loop (cdr left) result))))))

  ;; The egg waits for listening and connecting sockets by `select`, whose sets end before such a descriptor.
  (define (too-high? fd)
    (cond-expand
      (bokbok-use-socket (>= fd (foreign-value "FD_SETSIZE" int)))
      (else #f)))

  (define (new-socket family)
    (let* ((so (socket family sock/stream)) (fd (socket-fileno so)))
      (close-on-exec! fd)
      (when (too-high? fd)
        (socket-close* so)
        (network-error 'socket "too many open descriptors for the socket egg"))
      so))

  ;; A connected socket. Seconds are for the whole of it; #f, or a great many: as long as the system tries.
  (define (connect-address where address seconds)
    (define limit (limit-after seconds))
    (define (connected so a)
      (parameterize ((socket-connect-timeout
                       (and limit (max 1 (inexact->exact (round (- limit (now-ms))))))))
        (socket-connect so a))
      so)
    (if (eq? 'unix (car address))
        (let ((so (first-success where "connect to" address (list af/unix) new-socket)))
          (let try ((pause 0.001))
            (let ((result (connect-unix (socket-fileno so) (cadr address))))
              (cond ((eq? result #t) so)
                    ((and (eq? result 'full) (not (and limit (>= (now-ms) limit))))
                     (thread-sleep! pause)
                     (try (min 0.05 (* 2 pause))))
                    (else
                     (socket-close* so)
                     (cannot where "connect to" address
                             (if (eq? result 'full) "its backlog stays full: operation timed out" result)))))))
        (first-success where "connect to" address (resolve where "connect to" address limit)
          (lambda (host)
            (let ((a (inet-address host (caddr address))))
              (connected (new-socket (sockaddr-family a)) a))))))

  ;; A listening socket with its address as bound; for a Unix socket the file's identity.
  (define-record-type bokbok-bound
    (make-bound socket address identity) bound?
    (socket bound-socket) (address bound-address) (identity bound-identity))

  (define (bind-address where address backlog)
    (define (listening so a family)
      (condition-case
          (begin
            (unless (= family af/unix) (set! (so-reuse-address? so) #t))
            (when (= family af/inet6) (set-v6-only! (socket-fileno so) (and (cadr address) #t)))
            (socket-bind so a)
            (socket-listen so backlog)
            so)
        (e () (socket-close* so) (signal e))))
    (define (inet host)
      (let* ((a (inet-address host (caddr address)))
             (family (sockaddr-family a)))
        (listening (new-socket family) a family)))
    (if (eq? 'unix (car address))
        (let ((path (cadr address)))
          (remove-stale! path)
          (let ((so (first-success where "listen at" address (list path)
                      (lambda (path) (listening (new-socket af/unix) (unix-address path) af/unix)))))
            (make-bound so address (socket-file-identity path))))
        (let* ((hosts (if (cadr address) (resolve where "listen at" address #f) '("::" "0.0.0.0")))
               (so (first-success where "listen at" address hosts inet)))
          (make-bound so (list 'tcp (cadr address) (sockaddr-port (socket-name so))) #f))))

  ;; What a killed server left behind is in the way of the next one; a socket that somebody listens on is not ours.
  (define (remove-stale! path)
    (let ((identity (socket-file-identity path)))
      (when (and (string? identity) (connect-refused? path))
        (remove-file-if-same path identity))))

  ;; Ends the listening, and removes the file of a Unix socket if it still is this one.
  (define (bound-unbind! b)
    (when (bound-identity b)
      (remove-file-if-same (cadr (bound-address b)) (bound-identity b)))
    (socket-close* (bound-socket b)))

  ;; A new connection's socket, or the condition of why there is none (a client that is gone, no descriptors left).
  (define (accept-socket bound)
    (condition-case
        (let ((so (parameterize ((socket-accept-timeout 1)) (socket-accept (bound-socket bound)))))
          (close-on-exec! (socket-fileno so))
          so)
      (e (exn i/o net) e)))

  (define (set-up-connection! so address)
    (when (eq? 'tcp (car address))
      (condition-case
          (begin (set! (tcp-no-delay? so) #t) (set! (so-keep-alive? so) #t))
        (e (exn i/o net) #f))))

  (define (unmapped host)
    (let ((mapped "::ffff:") (n (string-length host)))
      (if (and (> n 7) (string=? mapped (substring host 0 7)) (bytes-index host 46 7 n))
          (substring host 7 n)
          host)))

  ;; The address of the other end: numeric for TCP, the socket's own for Unix.
  (define (peer-address so address)
    (if (eq? 'unix (car address))
        address
        (condition-case
            (let ((a (socket-peer-name so)))
              (if a
                  (list 'tcp (unmapped (sockaddr-address a)) (sockaddr-port a))
                  (list 'tcp "unknown" 0)))
          (e (exn i/o net) (list 'tcp "unknown" 0)))))

  ;; Bytes into buf from `start` below `end`: how many (0 at the end), or an error's message. Call when ready.
  (define (receive-some! so buf start end)
    (condition-case (parameterize ((socket-receive-timeout 1)) (socket-receive! so buf start end))
      (e (exn i/o net timeout) #f)
      (e (exn i/o net) (message-of e))))

  (define (send-some so text start end)
    (condition-case (parameterize ((socket-send-timeout 1)) (socket-send so text start end))
      (e (exn i/o net timeout) 0)
      (e (exn i/o net) (message-of e))))

  (define (close-socket so) (socket-close* so))
  (define (half-close so)
    (condition-case (socket-shutdown so shut/wr)
      (e () #f))))
