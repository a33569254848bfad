;;;; A stand-in for the bokbok egg, for rehearsing the day on which a real one is met: "lines".
;;;
;;; THE FORMAT IS MADE UP FOR REHEARSAL. Nothing is known of the original egg's, and this is not it.
;;;
;;;   packet    a line of text, which begins with a type symbol
;;;   hello     u "USER", then k BASE64 of the session key's box
;;;   message   m BASE64, of a box or (insecure) of the datum's text: (ask ID DATUM), (tell ID DATUM), (fail ID "TEXT")
;;;   box       a nonce of 24 random bytes, then tag and ciphertext
;;;   IDs       by two, the client's from 1, the server's from 2
;;;   key       the passphrase itself, cut to 32 bytes or padded with zeros

(include "eggs.scm")

(module bokbok
  (passphrase->key open-connection! connection? connection-user connection-addr close-connection! request!
   remote-error? remote-error-message start-server stop-server! wait-until-server-stopped)
  (import scheme)
  (cond-expand (chicken-5 (import (chicken base))) (else (import chicken)))
  (include "peer.scm")

  (define (passphrase->secret passphrase)
    (first-bytes (string-append passphrase (make-string 32 #\null)) 32))

  (define (framed packet) (string-append packet "\n"))

  (define (read-packet con) (bytes-until con #\newline))

  (define (with-type type text) (string-append (symbol->string type) " " text))

  (define (without-type type packet)
    (let* ((start (with-type type "")) (n (string-length start)))
      (if (and (>= (string-length packet) n) (string=? start (first-bytes packet n)))
          (substring packet n (string-length packet))
          (network-error "a line of another type"))))

  (define alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

  (define (base64 s)
    (let ((n (string-length s)))
      (define (at i) (if (< i n) (char->integer (string-ref s i)) 0))
      (with-output-to-string
        (lambda ()
          (let loop ((i 0))
            (if (< i n)
                (let ((bits (+ (* 65536 (at i)) (* 256 (at (+ i 1))) (at (+ i 2)))))
                  (define (digit unit) (write-char (string-ref alphabet (remainder (quotient bits unit) 64))))
                  (digit 262144)
                  (digit 4096)
                  (if (< (+ i 1) n) (digit 64) (write-char #\=))
                  (if (< (+ i 2) n) (digit 1) (write-char #\=))
                  (loop (+ i 3)))))))))

  (define digits
    (let ((table (make-vector 256 #f)))
      (let loop ((i 0))
        (if (< i 64)
            (begin (vector-set! table (char->integer (string-ref alphabet i)) i) (loop (+ i 1)))
            table))))

  (define (from-base64 s)
    (let ((n (string-length s)))
      (define (at i) (or (vector-ref digits (char->integer (string-ref s i))) 0))
      (define (filled? i) (not (char=? #\= (string-ref s i))))
      (if (not (= 0 (remainder n 4))) (network-error "not base64"))
      (with-output-to-string
        (lambda ()
          (let loop ((i 0))
            (if (< i n)
                (let ((bits (+ (* 262144 (at i)) (* 4096 (at (+ i 1))) (* 64 (at (+ i 2))) (at (+ i 3)))))
                  (define (put unit) (write-char (integer->char (remainder (quotient bits unit) 256))))
                  (put 65536)
                  (if (filled? (+ i 2)) (put 256))
                  (if (filled? (+ i 3)) (put 1))
                  (loop (+ i 4)))))))))

  (define (nonce-in-front key text)
    (let ((nonce (random-bytes 24)))
      (string-append nonce (box key nonce text))))

  (define (open-in-front key text)
    (and (> (string-length text) 24)
         (unbox key (first-bytes text 24) (substring text 24 (string-length text)))))

  (define (say-hello con user secret)
    (set-session-key! con (random-bytes 32))
    (send-packet con (with-type 'u (written user)))
    (send-packet con (with-type 'k (base64 (nonce-in-front secret (session-key con))))))

  (define (say-no-hello con) #t)

  (define (take-hello con user->key)
    (let* ((user (read-datum (without-type 'u (read-packet con))))
           (key-box (from-base64 (without-type 'k (read-packet con))))
           (secret (secret-of user user->key))
           (key (and secret (open-in-front secret key-box))))
      (set-user! con user)
      (set-session-key! con key)
      key))

  (define (take-no-hello con) #t)

  (define (sealed con text)
    (with-type 'm (base64 (if (session-key con) (nonce-in-front (session-key con) text) text))))

  (define (opened con packet)
    (let ((text (from-base64 (without-type 'm packet))))
      (if (session-key con) (open-in-front (session-key con) text) text)))

  (define (message kind id x)
    (list (cdr (assq kind '((request . ask) (answer . tell) (failure . fail)))) id x))

  (define (message-parts m)
    (and (list? m)
         (= 3 (length m))
         (let ((kind (assq (car m) '((ask . request) (tell . answer) (fail . failure)))))
           (and kind (list (cdr kind) (cadr m) (caddr m))))))

  (define (first-id role) (if (eq? role 'client) 1 2))
  (define id-step 2))
