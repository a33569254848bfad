;;;; Writes datums as bytes, exactly as this CHICKEN's own `write` prints them, except for what must travel.
;;;
;;; It differs from `write` in this: a keyword is `foo:` in every CHICKEN; the unspecified value is `()`; a value
;;; that no `read` takes (a procedure, a record, a cycle; a complex number, which CHICKEN 4 takes for a symbol) is
;;; refused with an error that names it and its place. It does not recurse on data, and stops at a limit of bytes
;;; and of depth, so that a circular structure ends too.

(module bokbok-datum-writer
  (write-datum shown
   unwritable? unwritable-message)
  (import scheme bokbok-compat bokbok-system)

  (define unwritable? (condition-predicate 'bokbok-unwritable))
  (define unwritable-message (condition-property-accessor 'bokbok-unwritable 'message))

  (define (refuse message)
    (abort (make-property-condition 'bokbok-unwritable 'message message)))

  (foreign-declare #<<C
/* Escapes n bytes as CHICKEN's `write` does inside a string's quotes; `to` has room for 4 n bytes. */
static int bokbok_escape(unsigned char *s, int n, unsigned char *to)
{
  static const char hex[] = "0123456789abcdef", named[] = "abtnvfr";
  unsigned char *p = to;
  int i;
  for (i = 0; i < n; i++) {
    unsigned char c = s[i];
    if (c == '"' || c == '\\') { *p++ = '\\'; *p++ = c; }
    else if (c >= 7 && c <= 13) { *p++ = '\\'; *p++ = named[c - 7]; }
    else if (c < 32 || c == 127) { *p++ = '\\'; *p++ = 'x'; *p++ = hex[c >> 4]; *p++ = hex[c & 15]; }
    else *p++ = c;
  }
  return p - to;
}

static void bokbok_hex(unsigned char *s, int n, unsigned char *to)
{
  static const char hex[] = "0123456789abcdef";
  int i;
  for (i = 0; i < n; i++) { *to++ = hex[s[i] >> 4]; *to++ = hex[s[i] & 15]; }
}
C
  )

  (define (escaped s)
    (let* ((n (string-length s))
           (to (make-string (+ 2 (* 4 n)))))
      (byte-set! to 0 34)
      (let ((used ((foreign-lambda* int ((scheme-pointer s) (int n) (scheme-pointer to))
                     "C_return(bokbok_escape(s, n, (unsigned char *)to + 1));")
                   s n to)))
        (byte-set! to (+ used 1) 34)
        (substring to 0 (+ used 2)))))

  (define (hexadecimal blob)
    (let ((to (make-string (* 2 (blob-size blob)))))
      ((foreign-lambda void "bokbok_hex" blob int scheme-pointer) blob (blob-size blob) to)
      to))

  (define (written x)
    (let ((out (open-output-string)))
      (write x out)
      (get-output-string out)))

  (define srfi-4-tests
    (list u8vector? s8vector? u16vector? s16vector? u32vector? s32vector? f32vector? f64vector?))

  (define (srfi-4-vector? x)
    (let loop ((tests srfi-4-tests))
      (and (pair? tests) (or ((car tests) x) (loop (cdr tests))))))

  (define unspecified (void))
  ;; CHICKEN 4's `write` is not sure of this one: see compat/chicken-4.scm.
  (define no-name (string->symbol ""))

  ;; The bytes of a datum that holds no other, or #f if it has none.
  (define (atom->bytes x)
    (cond ((eq? x #t) "#t")
          ((eq? x #f) "#f")
          ((null? x) "()")
          ((eq? x unspecified) "()")
          ((fixnum? x) (number->string x))
          ((string? x) (escaped x))
          ((is-keyword? x) (call-with-output-string (lambda (out) (write-keyword x out))))
          ((eq? x no-name) "||")
          ((or (symbol? x) (and (number? x) (real? x)) (char? x) (eof-object? x)) (written x))
          ((blob? x) (string-append "#${" (hexadecimal x) "}"))
          ((srfi-4-vector? x) (written x))
          (else #f)))

  ;; What an error calls a value: one short line, made without running a record's own printer.
  (define (name-of x)
    (if (record-instance? x)
        (string-append "#<" (structure-name x) ">")
        (written x)))

  ;; Text of any object for a person: as `write` would print it, at most `limit` bytes, and never an error.
  (define (shown x #!optional (limit 1000))
    (let ((text (cond ((or (pair? x) (vector? x))
                       (condition-case (write-datum x 65536 1000 #f)
                         (e (bokbok-unwritable) (string-append "(a value that cannot be written: "
                                                               (unwritable-message e) ")"))))
                      ((eq? x unspecified) "#<unspecified>")
                      (else (or (atom->bytes x) (name-of x))))))
      (if (> (string-length text) limit)
          (string-append (substring text 0 limit) "...")
          text)))

  ;; The bytes of x, at most `limit` of them, nested at most `depth-limit` deep. `place` names x in an error
  ;; ("message"), or is #f.
  (define (write-datum x limit depth-limit place)
    (define buf (make-string (min limit 256)))
    (define used 0)

    ;; The frames, innermost first: what is still to be written of the lists and vectors that are open. A frame is
    ;; #(CONTAINER REST INDEX TORTOISE STEPS): REST is the tail of a list not yet written;
    ;; INDEX counts the items that were begun. TORTOISE and STEPS: see `rest!`.
    (define (path stack)
      (let loop ((stack stack) (text ""))
        (if (null? stack)
            (string-append (or place "value") text)
            (loop (cdr stack)
                  (string-append "[" (number->string (- (vector-ref (car stack) 2) 1)) "]" text)))))

    (define (too-big)
      (refuse (string-append (or place "value") " cannot be sent: more than " (number->string limit) " bytes")))

    (define (circular stack)
      (refuse (string-append (path stack) " cannot be sent: a circular structure")))

    (define (put! text)
      (let* ((n (string-length text)) (new (+ used n)))
        (when (> new limit) (too-big))
        (when (> new (string-length buf))
          (let ((bigger (make-string (min limit (max new (* 2 (string-length buf)))))))
            (bytes-copy! bigger 0 buf 0 used)
            (set! buf bigger)))
        (bytes-copy! buf used text 0 n)
        (set! used new)))

    ;; Begins to write x: an atom at once, a container by a frame on the stack. `old` is an ancestor on the way
    ;; here, taken anew each time that the depth reaches a power of two: whoever meets it again goes in a circle
    ;; (Brent's algorithm, along the path of containers).
    (define (start x stack depth old)
      (cond ((pair? x)
             (enter x stack depth old)
             (put! "(")
             (step (cons (vector x x 0 x 1) stack) (+ depth 1) (remember x (+ depth 1) old)))
            ((vector? x)
             (if (= 0 (vector-length x))
                 (put-atom "#()" stack depth old)
                 (start-vector x stack depth old)))
            (else
             (put-atom
               (or (atom->bytes x)
                   (refuse (string-append (path stack) " cannot be sent: " (name-of x))))
               stack depth old))))

    (define (start-vector x stack depth old)
      (enter x stack depth old)
      (put! "#(")
      (step (cons (vector x #f 0 #f 0) stack) (+ depth 1) (remember x (+ depth 1) old)))

    (define (put-atom text stack depth old)
      (put! text)
      (step stack depth old))

    (define (enter x stack depth old)
      (when (memq x old) (circular stack))
      (when (>= depth depth-limit)
        (refuse (string-append (or place "value") " cannot be sent: nested deeper than "
                               (number->string depth-limit)))))

    ;; `old` is the list of ancestors at depths that are powers of two, deepest first.
    (define (remember x depth old)
      (if (= 0 (fxand depth (- depth 1))) (cons x old) old))

    (define (forget depth old)
      (if (and (pair? old) (= 0 (fxand depth (- depth 1)))) (cdr old) old))

    ;; Goes on with the innermost open container, or ends.
    (define (step stack depth old)
      (if (null? stack)
          (substring buf 0 used)
          (let* ((frame (car stack)) (x (vector-ref frame 0)) (rest (vector-ref frame 1)) (i (vector-ref frame 2)))
            (cond ((vector? x)
                   (if (= i (vector-length x))
                       (end stack depth old)
                       (item (vector-ref x i) frame (+ i 1) stack depth old)))
                  ((pair? rest)
                   (rest! frame (cdr rest) stack)
                   (item (car rest) frame (+ i 1) stack depth old))
                  ((null? rest) (end stack depth old))
                  (else
                   (put! " . ")
                   (vector-set! frame 1 '())
                   (vector-set! frame 2 (+ i 1))
                   (start rest stack depth old))))))

    (define (item x frame i stack depth old)
      (when (> i 1) (put! " "))
      (vector-set! frame 2 i)
      (start x stack depth old))

    (define (end stack depth old)
      (put! ")")
      (step (cdr stack) (- depth 1) (forget depth old)))

    ;; The same along a list: its tortoise waits while the hare makes 1, 2, 4, 8 ... steps.
    (define (rest! frame tail stack)
      (vector-set! frame 1 tail)
      (when (eq? tail (vector-ref frame 3)) (circular (cdr stack)))
      (let ((i (+ 1 (vector-ref frame 2))))
        (when (>= i (vector-ref frame 4))
          (vector-set! frame 3 tail)
          (vector-set! frame 4 (* 2 (vector-ref frame 4))))))

    (start x (quote ()) 0 (quote ()))))
