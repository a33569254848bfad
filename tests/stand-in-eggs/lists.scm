;;;; A stand-in for the bokbok egg, for rehearsing the day on which a real one is met: "lists".
;;;
;;; THE FORMAT IS MADE UP FOR REHEARSAL. Nothing is known of the original egg's, and this is not it.
;;;
;;;   packet    LEB128 length, bytes
;;;   hello     one packet, a datum: (hello "USER" #${the session key's box})
;;;   box       tag and ciphertext, then the nonce of 24 random bytes
;;;   message   #(q ID DATUM), #(a ID DATUM), #(e ID "TEXT"); IDs from 1 on both sides
;;;   key       the last 32 bytes of the passphrase's SHA-512

(include "eggs.scm")

(module bokbok
  (passphrase->key open-connection! connection? connection-user connection-addr close-connection! request!
   remote-error? remote-error-message start-server stop-server! wait-until-server-stopped)
  (import scheme)
  (cond-expand (chicken-5 (import (chicken base))) (else (import chicken)))
  (include "peer.scm")

  (define (passphrase->secret passphrase) (last-bytes (hash passphrase) 32))

  (define (leb128 n)
    (if (< n 128)
        (byte n)
        (string-append (byte (+ 128 (remainder n 128))) (leb128 (quotient n 128)))))

  (define (framed packet) (string-append (leb128 (string-length packet)) packet))

  (define (read-packet con)
    (let loop ((n 0) (unit 1))
      (let ((b (next-byte con)))
        (cond ((not b) (if (= unit 1) #f (cut-short)))
              ((>= b 128) (loop (+ n (* unit (- b 128))) (* unit 128)))
              (else (next-bytes con (+ n (* unit b))))))))

  (define (nonce-behind key text)
    (let ((nonce (random-bytes 24)))
      (string-append (box key nonce text) nonce)))

  (define (open-behind key text)
    (let ((n (- (string-length text) 24)))
      (and (> n 0) (unbox key (last-bytes text 24) (first-bytes text n)))))

  (define (say-hello con user secret)
    (set-session-key! con (random-bytes 32))
    (send-packet con (written (list 'hello user (string->blob (nonce-behind secret (session-key con)))))))

  (define (say-no-hello con) #t)

  (define (take-hello con user->key)
    (let* ((hello (read-datum (read-packet con)))
           (user (cadr hello))
           (secret (secret-of user user->key))
           (key (and (eq? 'hello (car hello)) secret (open-behind secret (blob->string (caddr hello))))))
      (set-user! con user)
      (set-session-key! con key)
      key))

  (define (take-no-hello con) #t)

  (define (sealed con text) (if (session-key con) (nonce-behind (session-key con) text) text))
  (define (opened con packet) (if (session-key con) (open-behind (session-key con) packet) packet))

  (define (message kind id x)
    (vector (cdr (assq kind '((request . q) (answer . a) (failure . e)))) id x))

  (define (message-parts m)
    (and (vector? m)
         (= 3 (vector-length m))
         (let ((kind (assq (vector-ref m 0) '((q . request) (a . answer) (e . failure)))))
           (and kind (list (cdr kind) (vector-ref m 1) (vector-ref m 2))))))

  (define (first-id role) 1)
  (define id-step 1))
