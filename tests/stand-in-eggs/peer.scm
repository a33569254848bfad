;;;; What the three stand-in eggs have in common: the documented API, threads, sockets and boxes.
;;;
;;; MADE UP FOR REHEARSAL. This is not the original bokbok egg, and nothing here is known of it but its documented API.
;;; Each egg's own file includes this one and adds the bytes on the wire, which are made up, too. It defines
;;;
;;;   (passphrase->secret STRING)          a string of 32 bytes
;;;   (read-packet CON)                    a string, or #f at the end of the input
;;;   (framed PACKET)                      what is sent for it
;;;   (say-hello CON USER SECRET), (say-no-hello CON)         the client's
;;;   (take-hello CON USER->KEY), (take-no-hello CON)         the server's: whether it opened
;;;   (sealed CON TEXT), (opened CON PACKET)                  a message's text in its packet, and back (#f: does not open)
;;;   (message KIND ID X)                  a datum; KIND is `request`, `answer` or `failure`
;;;   (message-parts DATUM)                (KIND ID X), or #f
;;;   (first-id ROLE), id-step
;;;
;;; Plain code, by the manuals of CHICKEN 4.13 and 5: no guards, no limits. Do not use it for anything else.

(cond-expand
  (chicken-5
   (import (chicken blob) (chicken condition) (chicken file) (chicken fixnum) (chicken foreign)
           (chicken io) (chicken keyword) (chicken memory) (chicken port) (chicken process signal) srfi-4))
  (else
   (import foreign)
   (use extras files lolevel ports posix srfi-4)))
(cond-expand
  (chicken-5 (cond-expand (bokbok-use-srfi-18 (import srfi-18)) (else (import bokbok-threads))))
  (else (use srfi-18)))

;; Where an egg is installed CHICKEN 4 has to be told to load it; CHICKEN 5 sees it from the import.
(cond-expand
  (chicken-5)
  (else
   (cond-expand (bokbok-use-socket (require-library socket)) (else))
   (cond-expand (bokbok-use-tweetnacl (require-library tweetnacl)) (else))))
(cond-expand
  (bokbok-use-socket
   (import (only socket
                 af/inet af/unix sock/stream shut/rdwr socket socket-bind socket-listen socket-accept socket-connect
                 socket-accept-timeout socket-receive-timeout socket-send-timeout socket-receive! socket-send
                 socket-shutdown socket-close* socket-peer-name sockaddr-address sockaddr-port inet-address unix-address
                 so-reuse-address? tcp-no-delay?)))
  (else (import bokbok-socket)))
(cond-expand
  (bokbok-use-tweetnacl (import (only tweetnacl symmetric-box symmetric-unbox hash)))
  (else (import bokbok-tweetnacl)))

;;; Errors

(define (network-error what)
  (abort (make-composite-condition
           (make-property-condition 'exn 'message what 'arguments '())
           (make-property-condition 'i/o)
           (make-property-condition 'net))))

(define (type-error what x)
  (abort (make-composite-condition
           (make-property-condition 'exn 'message what 'arguments (list x))
           (make-property-condition 'type))))

(define (remote-error what)
  (abort (make-composite-condition
           (make-property-condition 'exn 'message (string-append "the other end failed: " what) 'arguments '())
           (make-property-condition 'remote 'message what))))

(define is-remote? (condition-predicate 'remote))
(define remote-text (condition-property-accessor 'remote 'message))
(define is-exn? (condition-predicate 'exn))
(define exn-text (condition-property-accessor 'exn 'message ""))
(define exn-arguments (condition-property-accessor 'exn 'arguments '()))

(define (remote-error? x) (and (condition? x) (is-remote? x)))
(define (remote-error-message x) (remote-text x))

(define (written x) (with-output-to-string (lambda () (write x))))

(define (error-text x)
  (if (and (condition? x) (is-exn? x))
      (let ((arguments (exn-arguments x)))
        (with-output-to-string
          (lambda ()
            (display (exn-text x))
            (if (list? arguments)
                (for-each (lambda (a) (display " ") (write a)) arguments)))))
      (written x)))

;; A value that `write` cannot print so that `read` takes it never reaches the wire.
(define (check-datum x)
  (cond ((pair? x) (check-datum (car x)) (check-datum (cdr x)))
        ((vector? x) (let loop ((i 0)) (if (< i (vector-length x)) (begin (check-datum (vector-ref x i)) (loop (+ i 1))))))
        ((or (null? x) (boolean? x) (number? x) (string? x) (symbol? x) (char? x) (eof-object? x) (blob? x)
             (homogeneous-vector? x) (keyword? x)))
        (else (type-error "cannot travel" x))))

(define (homogeneous-vector? x)
  (or (u8vector? x) (s8vector? x) (u16vector? x) (s16vector? x) (u32vector? x) (s32vector? x) (f32vector? x)
      (f64vector? x)))

;;; Bytes

(define (random-bytes n)
  (let ((bytes (with-input-from-file "/dev/urandom" (lambda () (read-string n)))))
    (if (= n (string-length bytes)) bytes (network-error "no random bytes"))))

(define (byte n) (string (integer->char n)))

(define (first-bytes s n) (substring s 0 n))
(define (last-bytes s n) (substring s (- (string-length s) n) (string-length s)))

;; Boxes: strings all, a tag of 16 bytes in front.
(define (box key nonce text)
  ((symmetric-box (string->blob key)) text (blob->u8vector (string->blob nonce))))

(define (unbox key nonce text)
  (and (>= (string-length text) 16)
       ((symmetric-unbox (string->blob key)) text (blob->u8vector (string->blob nonce)))))

;; The one datum of a packet.
(define (read-datum text)
  (let* ((in (open-input-string text)) (x (read in)))
    (if (eof-object? (read in)) x (network-error "more than one datum in a packet"))))

;;; Keys

(define-record-type bokbok-key (make-key bytes) key? (bytes key-bytes))

(define (passphrase->key passphrase) (make-key (passphrase->secret passphrase)))

;;; Connections

(define-record-type bokbok-connection
  (make-connection socket role user addr request-handler close-handler input start key nonces
                   mutex changed output-mutex tickets next-id ready running ended ours released)
  connection?
  (socket connection-socket)
  (role connection-role)                        ; client or server
  (user connection-user set-user!)
  (addr connection-addr)
  (request-handler request-handler)
  (close-handler close-handler)
  (input input set-input!) (start start set-start!)     ; bytes that came: a string, and where the unread ones begin
  (key session-key set-session-key!)            ; a string, #f if insecure
  (nonces nonces set-nonces!)                   ; what the format needs to count nonces
  (mutex connection-mutex) (changed connection-changed) ; for what follows
  (output-mutex output-mutex)                   ; taken before the other one
  (tickets tickets set-tickets!)                ; alist from ID to #(RESULT)
  (next-id next-id set-next-id!)
  (ready ready? set-ready!)                     ; the open handler has returned
  (running running set-running!)                ; threads that may still send an answer
  (ended ended set-ended!)                      ; #f, or why
  (ours ours? set-ours!)                        ; this side closed it
  (released released? set-released!))           ; the socket is closed

(define (new-connection so role user addr request-handler close-handler)
  (make-connection so role user addr request-handler close-handler "" 0 #f #f
                   (make-mutex) (make-condition-variable) (make-mutex) '() (first-id role) #f 0 #f #f #f))

;; Calls the thunk while the mutex is held, and lets go of it whatever happens.
(define (locked mutex thunk)
  (mutex-lock! mutex)
  (let ((result (handle-exceptions e (begin (mutex-unlock! mutex) (abort e)) (thunk))))
    (mutex-unlock! mutex)
    result))

;; Waits, with the connection's mutex held, until the thunk's value is true.
(define (wait-until con thunk)
  (if (not (thunk))
      (begin
        (mutex-unlock! (connection-mutex con) (connection-changed con))
        (mutex-lock! (connection-mutex con))
        (wait-until con thunk))))

(define (in-thread thunk) (thread-start! (make-thread thunk)))

;;; Reading

(define (unread con) (- (string-length (input con)) (start con)))

;; More bytes: #f at the end of the input.
(define (fill! con)
  (let* ((piece (make-string 65536))
         (n (socket-receive! (connection-socket con) piece)))
    (and (> n 0)
         (begin
           (set-input! con (string-append (substring (input con) (start con) (string-length (input con)))
                                          (substring piece 0 n)))
           (set-start! con 0)
           #t))))

;; #f at the end of the input.
(define (next-byte con)
  (and (or (> (unread con) 0) (fill! con))
       (let ((c (string-ref (input con) (start con))))
         (set-start! con (+ 1 (start con)))
         (char->integer c))))

(define (cut-short) (network-error "the input ends within a packet"))

(define (next-bytes con n)
  (let ((bytes (make-string n)))
    (let loop ((at 0))
      (if (< at n)
          (begin
            (if (and (= 0 (unread con)) (not (fill! con))) (cut-short))
            (let ((piece (min (- n at) (unread con))))
              (move-memory! (input con) bytes piece (start con) at)
              (set-start! con (+ piece (start con)))
              (loop (+ at piece))))
          bytes))))

;; The bytes before the next `end`, which is gone; #f if there is not one byte more.
(define (bytes-until con end)
  (let loop ((parts '()))
    (let find ((i (start con)))
      (cond ((= i (string-length (input con)))
             (let ((parts (cons (substring (input con) (start con) i) parts)))
               (set-start! con i)
               (if (fill! con)
                   (loop parts)
                   (if (string=? "" (apply string-append parts)) #f (cut-short)))))
            ((char=? end (string-ref (input con) i))
             (let ((last (substring (input con) (start con) i)))
               (set-start! con (+ i 1))
               (apply string-append (reverse (cons last parts)))))
            (else (find (+ i 1)))))))

;;; Writing

(define (send-bytes con bytes)
  (if (released? con) (network-error "the connection is closed"))
  (let loop ((at 0))
    (if (< at (string-length bytes))
        (loop (+ at (socket-send (connection-socket con) bytes at (string-length bytes)))))))

(define (send-packet con packet) (send-bytes con (framed packet)))

;; The output mutex is held.
(define (send-message con kind id x)
  (send-packet con (sealed con (written (message kind id x)))))

(define (request! con x)
  (check-datum x)
  (let ((ticket (vector #f)))
    ;; IDs rise in the order in which they are written.
    (locked (output-mutex con)
      (lambda ()
        (let ((id (next-id con)))
          (locked (connection-mutex con)
            (lambda ()
              (if (ended con) (network-error (ended con)))
              (set-next-id! con (+ id id-step))
              (set-tickets! con (cons (cons id ticket) (tickets con)))))
          (send-message con 'request id x))))
    (locked (connection-mutex con) (lambda () (wait-until con (lambda () (vector-ref ticket 0)))))
    (let ((result (vector-ref ticket 0)))
      (case (car result)
        ((answer) (cdr result))
        ((failure) (remote-error (cdr result)))
        (else (network-error (cdr result)))))))

;; Hands a result to who waits for it, and tells whether anybody does.
(define (hand-over con id result)
  (locked (connection-mutex con)
    (lambda ()
      (let ((entry (assv id (tickets con))))
        (and entry
             (begin
               (set-tickets! con (let without ((l (tickets con)))
                                   (if (eq? entry (car l)) (cdr l) (cons (car l) (without (cdr l))))))
               (vector-set! (cdr entry) 0 result)
               (condition-variable-broadcast! (connection-changed con))
               #t))))))

(define (answer-request con id x)
  (locked (connection-mutex con) (lambda () (set-running! con (+ (running con) 1))))
  (in-thread
    (lambda ()
      (locked (connection-mutex con) (lambda () (wait-until con (lambda () (ready? con)))))
      (let ((result (handle-exceptions e (cons 'failure (error-text e))
                      (let ((value ((request-handler con) con x)))
                        (let ((value (if (eq? value (void)) '() value)))
                          (check-datum value)
                          (cons 'answer value))))))
        (handle-exceptions e #f
          (locked (output-mutex con) (lambda () (send-message con (car result) id (cdr result))))))
      (locked (connection-mutex con) (lambda () (set-running! con (- (running con) 1))))
      (release! con))))

;; What a packet says is done; an error ends the connection.
(define (take-packet con packet)
  (let* ((text (or (opened con packet) (network-error "a packet does not open: the key may be another")))
         (parts (or (message-parts (read-datum text)) (network-error "not a message"))))
    (if (eq? 'request (car parts))
        (answer-request con (cadr parts) (caddr parts))
        (if (not (hand-over con (cadr parts) (cons (car parts) (caddr parts))))
            (network-error "an answer that nobody waits for")))))

;; Reads packets until the end; the connection is then at its end, too.
(define (read-packets con)
  (let ((why (handle-exceptions e (error-text e)
               (let loop ()
                 (let ((packet (read-packet con)))
                   (if packet
                       (begin (take-packet con packet) (loop))
                       "the other end closed the connection"))))))
    (end! con (if (ours? con) "the connection was closed" why))
    (if (not (ours? con))
        (in-thread
          (lambda ()
            (locked (connection-mutex con) (lambda () (wait-until con (lambda () (ready? con)))))
            ((close-handler con) con))))
    (release! con)))

(define (end! con why)
  (locked (connection-mutex con)
    (lambda ()
      (set-ended! con why)
      (for-each (lambda (entry) (vector-set! (cdr entry) 0 (cons 'network why))) (tickets con))
      (set-tickets! con '())
      (condition-variable-broadcast! (connection-changed con)))))

;; Closes the socket once nobody can read from it or write to it any more.
(define (release! con)
  (locked (output-mutex con)
    (lambda ()
      (if (and (ended con) (= 0 (running con)) (not (released? con)))
          (begin
            (set-released! con #t)
            (shut-down (connection-socket con))
            (socket-close* (connection-socket con)))))))

;; Wakes whoever waits for the socket.
(define (shut-down so)
  (handle-exceptions e #f (socket-shutdown so shut/rdwr)))

(define (close-connection! con)
  (set-ours! con #t)
  (if (not (released? con)) (shut-down (connection-socket con))))

;;; Addresses

(define host-address
  (foreign-lambda* c-string ((nonnull-c-string host))
    "struct hostent *found = gethostbyname(host);"
    "C_return(found ? inet_ntoa(*(struct in_addr *)found->h_addr) : NULL);"))
(foreign-declare "#include <netdb.h>\n#include <arpa/inet.h>\n")

;; (tcp HOST PORT) or (unix PATH)
(define (address-list x)
  (if (string? x)
      (let loop ((i (- (string-length x) 1)))
        (cond ((< i 0) (list 'unix x))
              ((and (char=? #\: (string-ref x i)) (string->number (substring x (+ i 1) (string-length x))))
               => (lambda (port) (list 'tcp (substring x 0 i) port)))
              (else (loop (- i 1)))))
      (if (and (list? x) (or (and (= 2 (length x)) (eq? 'unix (car x))) (and (= 3 (length x)) (eq? 'tcp (car x)))))
          x
          (type-error "not an address" x))))

(define (socket-address x)
  (if (eq? 'unix (car x))
      (unix-address (cadr x))
      (inet-address (or (host-address (or (cadr x) "0.0.0.0")) (network-error "unknown host")) (caddr x))))

(define (new-socket x) (socket (if (eq? 'unix (car x)) af/unix af/inet) sock/stream))

(define (set-up so x)
  (if (eq? 'tcp (car x)) (set! (tcp-no-delay? so) #t)))

(define (peer-of so x)
  (if (eq? 'unix (car x))
      x
      (let ((peer (socket-peer-name so)))
        (list 'tcp (sockaddr-address peer) (sockaddr-port peer)))))

;;; Clients

(define (open-connection! address user key request-handler close-handler)
  (without-time-outs)
  (let* ((x (address-list address)) (so (new-socket x)))
    (socket-connect so (socket-address x))
    (set-up so x)
    (let ((con (new-connection so 'client user (peer-of so x) request-handler close-handler)))
      (set-ready! con #t)
      (if user
          (say-hello con user (key-bytes key))
          (say-no-hello con))
      (in-thread (lambda () (read-packets con)))
      con)))

;;; Servers

(define-record-type bokbok-server
  (make-server socket address connections stopping stopped mutex changed)
  server?
  (socket server-socket)
  (address server-address)
  (connections connections set-connections!)
  (stopping stopping? set-stopping!)
  (stopped stopped? set-stopped!)
  (mutex server-mutex)
  (changed server-changed))

(define (start-server address backlog user->key open-handler request-handler close-handler)
  (without-time-outs)
  (let* ((x (address-list address)) (so (new-socket x)))
    (if (eq? 'tcp (car x)) (set! (so-reuse-address? so) #t))
    (handle-exceptions e (begin (socket-close* so) (abort e))
      (socket-bind so (socket-address x))
      (socket-listen so backlog))
    (let ((server (make-server so x '() #f #f (make-mutex) (make-condition-variable))))
      (in-thread (lambda () (accept-connections server user->key open-handler request-handler close-handler)))
      server)))

(define (accept-connections server user->key open-handler request-handler close-handler)
  (let loop ()
    (let ((so (handle-exceptions e #f (socket-accept (server-socket server)))))
      (cond ((stopping? server) (if so (socket-close* so)))
            ((not so) (thread-sleep! 0.01) (loop))
            (else
             (in-thread
               (lambda ()
                 (handle-exceptions e (socket-close* so)
                   (set-up so (server-address server))
                   (let ((con (new-connection so 'server #f (peer-of so (server-address server))
                                              request-handler close-handler)))
                     (serve-connection server con user->key open-handler)))))
             (loop)))))
  (socket-close* (server-socket server))
  (if (eq? 'unix (car (server-address server)))
      (handle-exceptions e #f (delete-file (cadr (server-address server)))))
  (for-each close-connection! (connections server))
  (locked (server-mutex server)
    (lambda ()
      (set-stopped! server #t)
      (condition-variable-broadcast! (server-changed server)))))

(define (serve-connection server con user->key open-handler)
  (locked (server-mutex server) (lambda () (set-connections! server (cons con (connections server)))))
  (if (handle-exceptions e #f (if user->key (take-hello con user->key) (take-no-hello con)))
      (begin
        (in-thread
          (lambda ()
            (handle-exceptions e #f (open-handler con))
            (locked (connection-mutex con)
              (lambda ()
                (set-ready! con #t)
                (condition-variable-broadcast! (connection-changed con))))))
        (read-packets con))
      (begin
        (end! con "no hello")
        (release! con)))
  (locked (server-mutex server)
    (lambda ()
      (set-connections! server (let without ((l (connections server)))
                                 (cond ((null? l) '())
                                       ((eq? con (car l)) (cdr l))
                                       (else (cons (car l) (without (cdr l))))))))))

;; The key of a user by the server's callback, as bytes; #f if there is none.
(define (secret-of user user->key)
  (let ((key (user->key user)))
    (and key (key-bytes key))))

;; The accepting thread notices at its next time-out, at the latest.
(define (stop-server! server)
  (set-stopping! server #t)
  (wait-until-server-stopped server))

(define (wait-until-server-stopped server)
  (mutex-lock! (server-mutex server))
  (let loop ()
    (if (stopped? server)
        (mutex-unlock! (server-mutex server))
        (begin
          (mutex-unlock! (server-mutex server) (server-changed server))
          (mutex-lock! (server-mutex server))
          (loop)))))

;; The socket egg's time-outs are parameters. A thread begins with its parent's, so it is enough to set them here.
(define (without-time-outs)
  (set-signal-handler! signal/pipe #f)
  (socket-receive-timeout #f)
  (socket-send-timeout #f)
  (socket-accept-timeout accept-patience))

;; Milliseconds after which an accept comes back, to look whether the server is to stop.
(define accept-patience 100)
