;;;; A stand-in for the bokbok egg, for rehearsing the day on which a real one is met: "netstrings".
;;;
;;; THE FORMAT IS MADE UP FOR REHEARSAL. Nothing is known of the original egg's, and this is not it.
;;;
;;;   packet    a netstring: decimal length, colon, bytes, comma
;;;   hello     three packets: a byte of length and the user; a base of 24 random bytes; the session key's box, whose
;;;             nonce is the base
;;;   insecure  a packet of one zero byte stands for the hello
;;;   box       tag and ciphertext; the nonce is not sent: the base plus 1, 3, 5, ... (client) or 2, 4, 6, ... (server)
;;;   message   (DATUM ID . call), (DATUM ID . reply), ("TEXT" ID . oops); IDs from 0 on both sides
;;;   key       the first 32 bytes of the SHA-512 of the passphrase's SHA-512

(include "eggs.scm")

(module bokbok
  (passphrase->key open-connection! connection? connection-user connection-addr close-connection! request!
   remote-error? remote-error-message start-server stop-server! wait-until-server-stopped)
  (import scheme)
  (cond-expand (chicken-5 (import (chicken base))) (else (import chicken)))
  (include "peer.scm")

  (define (passphrase->secret passphrase) (first-bytes (hash (hash passphrase)) 32))

  (define (framed packet) (string-append (number->string (string-length packet)) ":" packet ","))

  (define (read-packet con)
    (let ((digits (bytes-until con #\:)))
      (and digits
           (let ((packet (next-bytes con (or (string->number digits) (network-error "not a length")))))
             (if (eqv? (char->integer #\,) (next-byte con)) packet (network-error "no comma behind a packet"))))))

  ;; 24 bytes, big-endian, plus n.
  (define (plus base n)
    (let loop ((i 23) (carry n) (bytes '()))
      (if (< i 0)
          (list->string bytes)
          (let ((sum (+ carry (char->integer (string-ref base i)))))
            (loop (- i 1) (quotient sum 256) (cons (integer->char (remainder sum 256)) bytes))))))

  ;; The next nonce of what is sent (index 1) or received (index 2); nonces are #(BASE SENT RECEIVED).
  (define (next-nonce con i)
    (let* ((state (nonces con)) (n (vector-ref state i)))
      (vector-set! state i (+ n 2))
      (plus (vector-ref state 0) n)))

  (define (say-hello con user secret)
    (let ((base (random-bytes 24)))
      (set-session-key! con (random-bytes 32))
      (set-nonces! con (vector base 1 2))
      (send-packet con (string-append (byte (string-length user)) user))
      (send-packet con base)
      (send-packet con (box secret base (session-key con)))))

  (define (say-no-hello con) (send-packet con (byte 0)))

  (define (take-hello con user->key)
    (let* ((first (read-packet con)) (base (read-packet con)) (key-box (read-packet con))
           (user (last-bytes first (char->integer (string-ref first 0))))
           (secret (secret-of user user->key))
           (key (and secret (unbox secret base key-box))))
      (set-user! con user)
      (set-nonces! con (vector base 2 1))
      (set-session-key! con key)
      key))

  (define (take-no-hello con) (string=? (byte 0) (read-packet con)))

  (define (sealed con text) (if (session-key con) (box (session-key con) (next-nonce con 1) text) text))
  (define (opened con packet) (if (session-key con) (unbox (session-key con) (next-nonce con 2) packet) packet))

  (define (message kind id x)
    (cons x (cons id (cdr (assq kind '((request . call) (answer . reply) (failure . oops)))))))

  (define (message-parts m)
    (and (pair? m)
         (pair? (cdr m))
         (let ((kind (assq (cddr m) '((call . request) (reply . answer) (oops . failure)))))
           (and kind (list (cdr kind) (cadr m) (car m))))))

  (define (first-id role) 0)
  (define id-step 1))
