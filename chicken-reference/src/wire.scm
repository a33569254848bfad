;;;; The bytes of profile inferred-1: packets, boxes, messages, and the guards that a receiver keeps.
;;;
;;; It knows what goes into a packet and what comes out of one. It knows no sockets and no threads. The egg's own
;;; bytes are not known: this profile is documented in the project's docs, and inferred from the egg's API.

(module bokbok-wire
  (passphrase->key bytes->key key? key-bytes
   session-key-packet-size user-limit default-packet-limit
   packet-header packet-header-size
   make-sealer seal! sealer-prefix open-box box-prefix
   request-bytes response-bytes error-bytes message-room
   parse-message
   make-window window-admit!
   make-memory memory-admit!)
  (import scheme bokbok-compat bokbok-system bokbok-errors bokbok-boxes bokbok-datum-reader bokbok-datum-writer)
  (cond-expand
    (bokbok-use-matchable
     (cond-expand
       (chicken-5 (import matchable))
       (else (use matchable))))
    (else (import bokbok-matchable)))

  (define prefix-size 16)
  (define session-key-packet-size (+ nonce-size tag-size key-size))
  (define user-limit 255)
  ;; 16 MiB: far beyond any sensible message, and a peer can make us hold a few of them at most.
  (define default-packet-limit 16777216)

  ;; Keys

  (define-record-type bokbok-key (bytes->key bytes) key? (bytes key-bytes))

  ;; The first 32 bytes of the SHA-512 of the passphrase's bytes.
  (define (passphrase->key passphrase)
    (unless (string? passphrase) (invalid-error 'passphrase->key "a passphrase is a string"))
    (bytes->key (substring (sha512 passphrase) 0 key-size)))

  ;; Packets: u32 big-endian length, then that many bytes

  (define packet-header-size 4)
  (define (packet-header n) (u32->bytes n))

  ;; Boxes: nonce, tag, ciphertext

  ;; A side's nonces: 16 bytes of its own choosing, then a u64 counter, one sequence for all its boxes.
  (define-record-type bokbok-sealer
    (%make-sealer prefix counter) sealer?
    (prefix sealer-prefix) (counter sealer-counter sealer-counter-set!))

  (define (make-sealer) (%make-sealer (random-bytes prefix-size) 0))

  (define (seal! sealer key body)
    (let ((nonce (make-string nonce-size)) (n (sealer-counter sealer)))
      (bytes-copy! nonce 0 (sealer-prefix sealer) 0 prefix-size)
      (u64-set! nonce prefix-size n)
      (sealer-counter-set! sealer (+ n 1))
      (string-append nonce (make-box key nonce body))))

  ;; The body of a box, or #f.
  (define (open-box key box)
    (and (>= (string-length box) (+ nonce-size tag-size))
         (open-made-box key (substring box 0 nonce-size) (substring box nonce-size (string-length box)))))

  (define (box-prefix box)
    (if (>= (string-length box) prefix-size) (substring box 0 prefix-size) ""))

  ;; Messages

  ;; Bytes of a packet that a message's datum cannot use: the box, the tag, the longest ID, spaces, parentheses.
  (define message-room (+ nonce-size tag-size 64))

  (define (request-bytes id payload) (string-append "(request " (number->string id) " " payload ")"))
  (define (response-bytes id payload) (string-append "(response " (number->string id) " " payload ")"))
  (define (error-bytes id text) (string-append "(error " (number->string id) " " (write-datum text 1000000 1 #f) ")"))

  (define (id? x) (and (fixnum? x) (>= x 0)))

  ;; What a message says, a list:
  ;;   (request ID DATUM), (response ID DATUM), (error ID STRING)
  ;;   (unreadable request ID WHY), (unreadable response ID WHY)   that one request fails
  ;;   (broken WHY)                                                the connection closes
  (define (parse-message s depth-limit name-limit)
    (define end (string-length s))
    (define failure #f)

    (define (reading thunk)              ; its values, or #f and nothing else when it cannot be read
      (condition-case (thunk)
        (e (bokbok-datum) (set! failure (datum-error-message e)) (values #f #f))))

    (define (blank? i)                   ; only white space and whole comments from i on
      (call-with-values
        (lambda () (reading (lambda () (read-datum s i end depth-limit name-limit))))
        (lambda (x next) (eq? x nothing))))

    (define (shape x)
      (match x
        (('request (? id? id) datum) (list 'request id datum))
        (('response (? id? id) datum) (list 'response id datum))
        (('error (? id? id) (? string? text)) (list 'error id text))
        (_ (list 'broken "a message is neither (request ID DATUM) nor (response ID DATUM) nor (error ID STRING)"))))

    ;; `(`, a tag and an ID can be read, and the last byte but white space is `)`: what cannot be read is between.
    (define (salvage why)
      (let ((last (let loop ((i (- end 1)))
                    (if (and (>= i 0) (char-whitespace? (string-ref s i))) (loop (- i 1)) i)))
            (start (call-with-values (lambda () (reading (lambda () (values #t (skip-atmosphere s 0 end)))))
                     (lambda (ok i) (and ok i)))))
        (if (and start (< start last) (eq? #\( (string-ref s start)) (eq? #\) (string-ref s last)))
            (call-with-values (lambda () (reading (lambda () (read-datum s (+ start 1) last 1 1))))
              (lambda (tag i)
                (if (and i (memq tag '(request response error)))
                    (call-with-values (lambda () (reading (lambda () (read-datum s i last 1 1))))
                      (lambda (id i)
                        (if (and i (id? id))
                            (list 'unreadable (if (eq? tag 'request) 'request 'response) id why)
                            (list 'broken why))))
                    (list 'broken why))))
            (list 'broken why))))

    (call-with-values
      ;; One level more than the datum may have: the message's own list.
      (lambda () (reading (lambda () (read-datum s 0 end (+ 1 depth-limit) name-limit))))
      (lambda (x next)
        (cond ((not next) (salvage failure))
              ((eq? x nothing) (list 'broken "a message is empty"))
              ((not (blank? next)) (list 'broken (string-append "a message goes on behind its list, at offset " (number->string next))))
              (else (shape x))))))

  ;; Guards

  ;; Which IDs of requests were used: a sliding window, as IPsec has it for its sequence numbers. Gaps and a changed
  ;; order pass; a repeat does not, and an ID below the window counts as used.
  (define window-size 1024)

  (define-record-type bokbok-window
    (%make-window highest seen) window?
    (highest window-highest window-highest-set!) (seen window-seen))

  (define (make-window) (%make-window -1 (make-vector window-size -1)))

  ;; Whether the ID is new; if so it is used from now on. `strict?`: only the successor of the last one is new.
  (define (window-admit! w id strict?)
    (let ((highest (window-highest w)) (slot (modulo id window-size)))
      (and (if strict?
               (= id (+ highest 1))
               (and (> id (- highest window-size))
                    (not (= id (vector-ref (window-seen w) slot)))))
           (begin
             (vector-set! (window-seen w) slot id)
             (when (> id highest) (window-highest-set! w id))
             #t))))

  ;; The hellos that were accepted, so that none is accepted twice: two generations of a table from box to #t.
  ;; When the younger is full it becomes the older, and the older is forgotten: bounded memory.
  (define memory-size 65536)
  (define bucket-count 16384)

  (define-record-type bokbok-memory
    (%make-memory young old count) memory?
    (young memory-young memory-young-set!) (old memory-old memory-old-set!) (count memory-count memory-count-set!))

  (define (make-memory) (%make-memory (make-vector bucket-count '()) (make-vector bucket-count '()) 0))

  ;; Its author cannot choose the bytes of a tag, so that they spread over the buckets by themselves.
  (define (bucket box) (modulo (bytes->u32 box nonce-size) bucket-count))

  (define (memory-admit! m box)
    (let* ((b (bucket box)) (bucketful (vector-ref (memory-young m) b)))
      (and (not (member box bucketful))
           (not (member box (vector-ref (memory-old m) b)))
           (begin
             (when (>= (memory-count m) memory-size)
               (memory-old-set! m (memory-young m))
               (memory-young-set! m (make-vector bucket-count '()))
               (memory-count-set! m 0))
             (vector-set! (memory-young m) b (cons box (vector-ref (memory-young m) b)))
             (memory-count-set! m (+ 1 (memory-count m)))
             #t)))))
