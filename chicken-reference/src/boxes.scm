;;;; Boxes and hashes, all in strings: everything that bokbok takes from the tweetnacl egg.
;;;
;;; The egg could not be had while this was written. What is assumed of it stands here and nowhere else: `((symmetric-box
;;; KEY) TEXT NONCE)` and `((symmetric-unbox KEY) BOX NONCE)` with the key a blob of 32 bytes, the nonce a u8vector of 24,
;;; texts and boxes strings, #f for a box that does not open; `(hash TEXT)`, the 64 bytes of SHA-512 as a string. Where an
;;; egg differs, this file is what to change.

(module bokbok-boxes (make-box open-made-box sha512 key-size nonce-size tag-size)
  (import scheme bokbok-compat)
  (cond-expand
    (bokbok-use-tweetnacl
     (cond-expand
       (chicken-5 (import tweetnacl))
       (else (use tweetnacl))))
    (else (import bokbok-tweetnacl)))

  (define key-size 32)
  (define nonce-size 24)
  (define tag-size 16)

  (define (string->u8vector s) (blob->u8vector (string->blob s)))

  ;; NaCl's own functions want zero bytes in front of a ciphertext. The egg's documentation does not say whether its
  ;; boxes keep them: an empty one tells.
  (define zeros
    (let ((box ((symmetric-box (make-blob key-size)) "" (make-u8vector nonce-size 0))))
      (- (string-length box) tag-size)))

  ;; Tag and ciphertext.
  (define (make-box key nonce text)
    (let ((box ((symmetric-box (string->blob key)) text (string->u8vector nonce))))
      (if (= zeros 0) box (substring box zeros (string-length box)))))

  ;; The text of tag and ciphertext, or #f.
  (define (open-made-box key nonce box)
    ((symmetric-unbox (string->blob key))
     (if (= zeros 0) box (string-append (make-string zeros #\null) box))
     (string->u8vector nonce)))

  (define (sha512 text) (hash text)))
