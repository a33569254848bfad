;;;; The three procedures of the tweetnacl egg that bokbok uses, on libsodium, for a CHICKEN without that egg.
;;;
;;; Names and shapes are the egg's: messages and boxes are strings, a key is a blob, a nonce a u8vector, a box is
;;; the tag and then the ciphertext.

(module bokbok-tweetnacl
  (symmetric-box symmetric-unbox hash)
  (import scheme bokbok-compat)

  (foreign-declare "#include <sodium.h>")

  (when (< ((foreign-lambda int "sodium_init")) 0)
    (error "bokbok: libsodium cannot be initialised"))

  (define tag-size 16)

  (define (check-sizes key nonce)
    (unless (and (blob? key) (= 32 (blob-size key))) (error "bokbok: a box's key must be a blob of 32 bytes"))
    (unless (and (u8vector? nonce) (= 24 (u8vector-length nonce)))
      (error "bokbok: a box's nonce must be a u8vector of 24 bytes")))

  ;; XSalsa20-Poly1305, as NaCl's crypto_secretbox.
  (define ((symmetric-box key) message nonce)
    (check-sizes key nonce)
    (let ((box (make-string (+ tag-size (string-length message)))))
      ((foreign-lambda int "crypto_secretbox_easy" scheme-pointer scheme-pointer unsigned-integer64 u8vector blob)
       box message (string-length message) nonce key)
      box))

  ;; #f if the box was not made with this key and nonce, or was changed.
  (define ((symmetric-unbox key) box nonce)
    (check-sizes key nonce)
    (and (>= (string-length box) tag-size)
         (let ((message (make-string (- (string-length box) tag-size))))
           (and (= 0 ((foreign-lambda int "crypto_secretbox_open_easy"
                        scheme-pointer scheme-pointer unsigned-integer64 u8vector blob)
                      message box (string-length box) nonce key))
                message))))

  ;; SHA-512: 64 bytes, as a string.
  (define (hash message)
    (let ((digest (make-string 64)))
      ((foreign-lambda int "crypto_hash_sha512" scheme-pointer scheme-pointer unsigned-integer64)
       digest message (string-length message))
      digest)))
