;;;; Reads datums from bytes, as CHICKEN's own `read` takes them, but fit for bytes that a stranger chose.
;;;
;;; CHICKEN's `read` recurses on its input, interns every name it meets, and can be extended to run code (`#.`,
;;; `#,`, here-strings with expressions). This reader keeps its own stack, counts depth, new names and digits, and
;;; knows no syntax that does more than build a datum. It knows nothing of messages or packets.
;;;
;;; On purpose it differs from `read` in this: a complex number is a symbol, as CHICKEN 4 has it, which writes the
;;; symbol `-i` without bars; a decimal flonum is the nearest double, which CHICKEN 5 misses for some texts, and an
;;; infinity if it is too large, which is a symbol for CHICKEN 4; `#true` and `#false` are the booleans;
;;; `#<unspecified>` is the unspecified value; `#%a` and `#'a` are taken by both CHICKENs as 4 takes them; `(a . )`, a
;;; quote at the end of the input and a lone dot are errors; `#e1e100` and beyond, `#,` `#.` `#<` (here-strings) `#ci`
;;; `#cs` and `#NUMBER` are refused.

(module bokbok-datum-reader
  (read-datum skip-atmosphere nothing
   datum-error? datum-error-message
   default-depth-limit default-name-limit)
  (import scheme bokbok-compat bokbok-system)

  ;; Nesting of a datum. Deeper ones do occur in no message that anybody wrote by hand or by a sane program.
  (define default-depth-limit 10000)
  ;; Names (symbols, keywords) new to this process in one message: each costs memory, and makes one of the symbol
  ;; table's chains longer, whose number is fixed.
  (define default-name-limit 32768)
  ;; The same for all messages of a process together, where symbols are never given back (CHICKEN 4 without -:w):
  ;; about 100 MB.
  (define total-name-limit 1048576)
  ;; Characters of a number: exact ones are converted in a time that grows with the square of it. The same limit as
  ;; this project's Python library has.
  (define number-limit 4300)

  (define total-names 0)

  (define datum-error? (condition-predicate 'bokbok-datum))
  (define datum-error-message (condition-property-accessor 'bokbok-datum 'message))

  (define (fail at . parts)
    (abort (make-property-condition 'bokbok-datum 'message
             (string-append (apply string-append parts) " at byte " (number->string at)))))

  ;; What `read-datum` returns where only white space and comments are left.
  (define nothing (list 'nothing))

  (foreign-declare #<<C
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int bokbok_delimiter(unsigned char c)
{
  return (c < 128 && isspace(c)) || (c != 0 && strchr(",;()'\"[]{}", c) != NULL);
}

/* Where the token that starts at `i` ends; minus that minus one if it holds `|` or `\`, which must be undone. */
static int bokbok_token_end(unsigned char *s, int i, int end)
{
  int plain = 1;
  for (; i < end && !bokbok_delimiter(s[i]); i++)
    if (s[i] == '|' || s[i] == '\\') { plain = 0; break; }
  return plain ? i : -i - 1;
}

/* Index of the first `term` or backslash from `i` below `end`, or `end`. */
static int bokbok_string_end(unsigned char *s, int i, int end, int term)
{
  while (i < end && s[i] != term && s[i] != '\\') i++;
  return i;
}

/* Where the whole number of up to nine digits that starts at `i` ends; 0 if the token there is something else. */
static int bokbok_small_end(unsigned char *s, int i, int end)
{
  int j = i + (s[i] == '-' || s[i] == '+'), first = j;
  while (j < end && j - first < 9 && isdigit(s[j])) j++;
  return j > first && (j == end || bokbok_delimiter(s[j])) ? j : 0;
}

static int bokbok_small(unsigned char *s, int i, int end)
{
  int n = 0, negative = s[i] == '-';
  for (i += negative || s[i] == '+'; i < end; i++) n = 10 * n + s[i] - '0';
  return negative ? -n : n;
}

/* What decimal number the text is: 0 none, 1 a whole one of digits alone, 2 one with a point or an exponent. */
static int bokbok_decimal(char *s, int n)
{
  int i = 0, digits = 0, kind = 1;
  if (i < n && (s[i] == '+' || s[i] == '-')) i++;
  for (; i < n && isdigit((unsigned char)s[i]); i++) digits++;
  if (i < n && s[i] == '.')
    for (kind = 2, i++; i < n && isdigit((unsigned char)s[i]); i++) digits++;
  if (digits == 0) return 0;
  if (i < n && (s[i] == 'e' || s[i] == 'E')) {
    kind = 2;
    i++;
    if (i < n && (s[i] == '+' || s[i] == '-')) i++;
    if (i == n || !isdigit((unsigned char)s[i])) return 0;
    while (i < n && isdigit((unsigned char)s[i])) i++;
  }
  return i == n ? kind : 0;
}

/* Whether the text is marked as exact and decimal, and ends in a letter and three digits or more: 1e999. */
static int bokbok_large_exact(char *s, int n)
{
  int exact = 0, i = 0, j = n, zeros = 0;
  for (; i + 1 < n && s[i] == '#'; i += 2) {
    if (strchr("xXoObB", s[i + 1]) != NULL) return 0;
    if (s[i + 1] == 'e' || s[i + 1] == 'E') exact = 1;
  }
  if (!exact) return 0;
  while (j > i && isdigit((unsigned char)s[j - 1])) j--;
  while (j + zeros < n && s[j + zeros] == '0') zeros++;
  if (n - j - zeros < 3) return 0;
  if (j > i && (s[j - 1] == '+' || s[j - 1] == '-')) j--;
  return j > i && isalpha((unsigned char)s[j - 1]);
}

static int bokbok_skip_space(unsigned char *s, int i, int end)
{
  while (i < end && s[i] < 128 && isspace(s[i])) i++;
  return i;
}
C
  )

  (define token-end (foreign-lambda int "bokbok_token_end" scheme-pointer int int))
  (define small-end (foreign-lambda int "bokbok_small_end" scheme-pointer int int))
  (define small (foreign-lambda int "bokbok_small" scheme-pointer int int))
  (define string-end (foreign-lambda int "bokbok_string_end" scheme-pointer int int int))
  (define skip-space (foreign-lambda int "bokbok_skip_space" scheme-pointer int int))
  (define delimiter? (foreign-lambda bool "bokbok_delimiter" unsigned-byte))
  (define (decimal-kind text)
    ((foreign-lambda int "bokbok_decimal" scheme-pointer int) text (string-length text)))
  (define strtod (foreign-lambda double "strtod" nonnull-c-string (c-pointer "char *")))
  (define interned?
    (foreign-lambda* bool ((scheme-object name))
      "C_return(C_find_symbol(name, C_find_symbol_table(\".\")) != C_SCHEME_FALSE);"))

  (define (whitespace-at? s i) (char-whitespace? (string-ref s i)))

  ;; Where a line comment that starts at `i` ends.
  (define (line-end s i end) (or (bytes-index s 10 i end) end))

  ;; Where the block comment whose `#|` ends before `i` ends, as CHICKEN counts them.
  (define (block-comment-end s i end)
    (let loop ((j i) (depth 0))
      (if (>= j end)
          (fail i "unterminated block comment")
          (let ((c (string-ref s j)) (next (and (< (+ j 1) end) (string-ref s (+ j 1)))))
            (cond ((eq? c #\|)
                   (cond ((eq? next #\#) (if (= depth 0) (+ j 2) (loop (+ j 2) (- depth 1))))
                         (else (loop (+ j 2) depth))))
                  ((eq? c #\#) (loop (+ j 2) (if (eq? next #\|) (+ depth 1) depth)))
                  (else (loop (+ j 1) depth)))))))

  ;; The index of the next byte that is neither white space nor in a comment. Not `#;` comments: those hold datums.
  (define (skip-atmosphere s i end)
    (let loop ((i (skip-space s i end)))
      (cond ((>= i end) end)
            ((eq? #\; (string-ref s i)) (loop (skip-space s (line-end s i end) end)))
            ((and (eq? #\# (string-ref s i)) (< (+ i 1) end))
             (let ((c (string-ref s (+ i 1))))
               (cond ((eq? c #\|) (loop (skip-space s (block-comment-end s (+ i 2) end) end)))
                     ((and (eq? c #\!) (< (+ i 2) end)
                           (or (whitespace-at? s (+ i 2)) (eq? #\/ (string-ref s (+ i 2)))))
                      (loop (skip-space s (line-end s i end) end)))
                     (else i))))
            (else i))))

  (define (hex-value c)
    (cond ((and (char>=? c #\0) (char<=? c #\9)) (- (char->integer c) 48))
          ((and (char>=? c #\a) (char<=? c #\f)) (- (char->integer c) 87))
          ((and (char>=? c #\A) (char<=? c #\F)) (- (char->integer c) 55))
          (else #f)))

  ;; `count` digits in `base` from i: the number, or #f.
  (define (digits s i end count base)
    (and (<= (+ i count) end)
         (let loop ((j i) (n 0))
           (if (= j (+ i count))
               n
               (let ((d (hex-value (string-ref s j))))
                 (and d (< d base) (loop (+ j 1) (+ (* n base) d))))))))

  (define (utf-8 n)
    (define (byte lead shift) (integer->char (fxior lead (fxand 63 (fxshr n shift)))))
    (cond ((< n #x80) (string (integer->char n)))
          ((< n #x800) (string (integer->char (fxior #xC0 (fxshr n 6))) (byte #x80 0)))
          ((< n #x10000) (string (integer->char (fxior #xE0 (fxshr n 12))) (byte #x80 6) (byte #x80 0)))
          (else (string (integer->char (fxior #xF0 (fxshr n 18))) (byte #x80 12) (byte #x80 6) (byte #x80 0)))))

  (define (surrogate? n) (and (>= n #xD800) (<= n #xDFFF)))

  ;; The content of a string, or of a symbol's `|...|`, that starts at `i`: two values, it and the index behind the
  ;; closing `term`.
  (define (read-delimited s i end term)
    (define term-byte (char->integer term))
    (define first (string-end s i end term-byte))
    (define (unterminated) (fail i "unterminated string"))
    (cond ((= first end) (unterminated))
          ((eq? term (string-ref s first)) (values (substring s i first) (+ first 1)))
          (else
           (let ((out (open-output-string)))
             (define (emit x next)
               (display x out)
               (loop next))
             (define (loop j)
               (let ((k (string-end s j end term-byte)))
                 (when (> k j) (display (substring s j k) out))
                 (cond ((= k end) (unterminated))
                       ((eq? term (string-ref s k)) (values (get-output-string out) (+ k 1)))
                       ((= (+ k 1) end) (unterminated))
                       (else (escape k (string-ref s (+ k 1)) (+ k 2))))))
             (define (escape at c next)
               (define (number count base then)
                 (then (or (digits s next end count base) (fail at "invalid escape sequence \\" (string c)))
                       (+ next count)))
               (case c
                 ((#\t) (emit #\tab next))
                 ((#\r) (emit #\return next))
                 ((#\b) (emit #\backspace next))
                 ((#\n) (emit #\newline next))
                 ((#\a) (emit (integer->char 7) next))
                 ((#\v) (emit (integer->char 11) next))
                 ((#\f) (emit (integer->char 12) next))
                 ((#\x) (number 2 16 (lambda (n next) (emit (integer->char n) next))))
                 ((#\u)
                  (number 4 16
                    (lambda (n next)
                      (if (surrogate? n)
                          (let ((low (and (< n #xDC00)
                                          (< (+ next 1) end)
                                          (eq? #\\ (string-ref s next))
                                          (eq? #\u (string-ref s (+ next 1)))
                                          (digits s (+ next 2) end 4 16))))
                            (if (and low (>= low #xDC00) (<= low #xDFFF))
                                (emit (utf-8 (+ #x10000 (* 1024 (- n #xD800)) (- low #xDC00))) (+ next 6))
                                (fail at "unpaired surrogate")))
                          (emit (utf-8 n) next)))))
                 ((#\U)
                  (number 8 16
                    (lambda (n next)
                      (when (or (surrogate? n) (> n #x10FFFF)) (fail at "no such character"))
                      (emit (utf-8 n) next))))
                 ((#\space #\tab #\newline #\return) (collapse next c #f))
                 (else
                  (if (and (char>=? c #\0) (char<=? c #\7))
                      (let ((n (or (digits s (+ at 1) end 3 8) (fail at "invalid escape sequence"))))
                        (when (> n 255) (fail at "invalid escape sequence"))
                        (emit (integer->char n) (+ at 4)))
                      (emit c next)))))
             ;; A backslash, blanks, one end of line, blanks: nothing.
             (define (collapse j c newline?)
               (define (more newline?)
                 (if (= j end) (unterminated) (collapse (+ j 1) (string-ref s j) newline?)))
               (case c
                 ((#\space #\tab) (more newline?))
                 ((#\newline) (if newline? (loop (- j 1)) (more #t)))
                 ((#\return)
                  (cond (newline? (loop (- j 1)))
                        ((and (< j end) (eq? #\newline (string-ref s j)))
                         (if (= (+ j 1) end) (unterminated) (collapse (+ j 2) (string-ref s (+ j 1)) #t)))
                        (else (more #t))))
                 (else (loop (- j 1)))))
             (loop i)))))

  ;; The token at `i`, three values: its text with bars and backslashes undone, whether it ended in a bare colon
  ;; (which then is not part of the text), and the index behind it.
  (define (read-token s i end)
    (let ((e (token-end s i end)))
      (if (>= e 0)
          (if (and (> e (+ i 1)) (eq? #\: (string-ref s (- e 1))))
              (values (substring s i (- e 1)) #t e)
              (values (substring s i e) #f e))
          (let ((out (open-output-string)))
            ;; colon: the last character was a bare colon, not yet put out
            (let loop ((j i) (colon #f) (any #f))
              (define (flush) (when colon (write-char #\: out)))
              (if (or (>= j end) (delimiter? (byte-ref s j)))
                  (if (and colon any)
                      (values (get-output-string out) #t j)
                      (begin (flush) (values (get-output-string out) #f j)))
                  (let ((c (string-ref s j)))
                    (flush)
                    (case c
                      ((#\|)
                       (call-with-values (lambda () (read-delimited s (+ j 1) end #\|))
                         (lambda (part next) (display part out) (loop next #f #t))))
                      ((#\\)
                       (when (>= (+ j 1) end) (fail j "unexpected end after a backslash"))
                       (write-char (string-ref s (+ j 1)) out)
                       (loop (+ j 2) #f #t))
                      ((#\:) (loop (+ j 1) #t (or any colon)))
                      (else (write-char c out) (loop (+ j 1) #f #t))))))))))

  (define (utf-8-char tok)
    (let* ((c0 (byte-ref tok 0))
           (n (cond ((< c0 #xC0) 0) ((< c0 #xE0) 2) ((< c0 #xF0) 3) ((< c0 #xF8) 4) (else 0))))
      (and (> n 0) (= n (string-length tok))
           (let loop ((i 1) (v (fxand c0 (- (fxshl 1 (- 7 n)) 1))))
             (if (= i n)
                 (and (<= v #x10FFFF) (integer->char v))
                 (loop (+ i 1) (fxior (fxshl v 6) (fxand 63 (byte-ref tok i)))))))))

  ;; The character behind `#\`, which ends before `i`: two values, it and the index behind it.
  (define (read-char-datum s i end)
    (when (>= i end) (fail i "a character was expected"))
    (let* ((e (let loop ((j i)) (if (or (>= j end) (delimiter? (byte-ref s j))) j (loop (+ j 1)))))
           (len (- e i))
           (c (string-ref s i)))
      (cond ((= len 0) (values c (if (char-whitespace? c) i (+ i 1))))
            ((= len 1) (values c e))
            ((> len 32) (fail i "unknown named character"))
            (else
             (let ((tok (substring s i e)))
               (cond ((and (memq c '(#\x #\u #\U)) (<= len 9) (digits s (+ i 1) e (- len 1) 16))
                      => (lambda (n)
                           (when (> n #x10FFFF) (fail i "no such character"))
                           (values (integer->char n) e)))
                     ((utf-8-char tok) => (lambda (char) (values char e)))
                     ((and (interned? tok) (char-name (string->symbol tok))) => (lambda (char) (values char e)))
                     (else (fail i "unknown named character"))))))))

  ;; The blob whose `#${` ends before `i`: two values, it and the index behind it. A digit without its second is a
  ;; byte of its own, as CHICKEN has it.
  (define (read-blob s i end)
    (let* ((close (or (bytes-index s 125 i end) (fail i "unterminated blob")))
           (buf (make-string (quotient (+ 1 (- close i)) 2))))
      (let loop ((j i) (n 0) (high #f))
        (cond ((= j close)
               (when high (byte-set! buf n high))
               (values (string->blob (substring buf 0 (if high (+ n 1) n))) (+ close 1)))
              ((whitespace-at? s j)
               (when high (byte-set! buf n high))
               (loop (+ j 1) (if high (+ n 1) n) #f))
              ((hex-value (string-ref s j))
               => (lambda (d)
                    (if high
                        (begin (byte-set! buf n (+ (* 16 high) d)) (loop (+ j 1) (+ n 1) #f))
                        (loop (+ j 1) n d))))
              (else (fail j "invalid hexadecimal digit in a blob"))))))

  (define vector-makers
    `(("u8" . ,list->u8vector) ("s8" . ,list->s8vector) ("u16" . ,list->u16vector) ("s16" . ,list->s16vector)
      ("u32" . ,list->u32vector) ("s32" . ,list->s32vector) ("f32" . ,list->f32vector) ("f64" . ,list->f64vector)))

  (define (make-number-vector maker items at)
    (condition-case (maker items)
      (e () (fail at "a value that the vector cannot hold"))))

  (define (large-exact? text)
    ((foreign-lambda bool "bokbok_large_exact" scheme-pointer int) text (string-length text)))

  ;; Exact numbers with an exponent are the one short text for a large number: many of them fill the memory.
  (define (number-of text at)
    (let ((sign (if (and (> (string-length text) 0) (memq (string-ref text 0) '(#\+ #\-))) 1 0)))
      (when (> (- (string-length text) sign) number-limit) (fail at "a number of too many digits")))
    (when (large-exact? text) (fail at "an exact number with so large an exponent"))
    (let ((kind (decimal-kind text)))
      (if (= kind 2)
          (strtod text #f)              ; to the last bit, which CHICKEN 5's own conversion misses for some texts
          (let ((n (condition-case (string->number text 10)
                     (e () #f))))
            (cond ((and (= kind 1) (not (and n (exact? n)))) (strtod text #f))
                  ((and n (real? n)) n)
                  (else #f))))))

  ;; Reads one datum of s from `i` below `end`: two values, it (or `nothing`) and the index behind it.
  ;;
  ;; The stack is a list of frames, innermost first, each a vector whose first element says what it waits for:
  ;;   #(list CLOSE HEAD LAST DOT)   items until CLOSE; DOT: #f, `want` or `have` its tail; HEAD is a dummy pair
  ;;   #(vector CLOSE HEAD LAST #f)  the same for #( ... )
  ;;   #(numbers CLOSE HEAD LAST DOT MAKER) the same for #u8( ... ) and its kin
  ;;   #(quote SYMBOL), #(skip), #(if-feature FIRST?)
  (define (read-datum s i end #!optional (depth-limit default-depth-limit) (name-limit default-name-limit))
    (define names 0)

    (define (name! text at)
      (unless (interned? text)
        (set! names (+ names 1))
        (when (> names name-limit) (fail at "too many new symbols"))
        (unless (collects-symbols?)
          (set! total-names (+ total-names 1))
          (when (> total-names total-name-limit)
            (fail at "too many new symbols in this program's life (start it with -:w, and they are given back)"))))
      text)

    (define (make-name text keyword? at)
      (if keyword?
          (string->keyword (name! text at))
          (string->symbol (name! text at))))

    (define (number-or-name text at)
      (or (number-of text at) (make-name text #f at)))

    (define (open frame i stack depth)
      (when (>= depth depth-limit)
        (fail i "nested deeper than " (number->string depth-limit)))
      (next (+ i 1) (cons frame stack) (+ depth 1)))

    (define (open-list kind close i stack depth)
      (let ((head (list #f)))
        (open (vector kind close head head #f) i stack depth)))

    ;; A number vector holds no datum that nests, so that it may stand where no list may, as it does for the writer.
    (define (open-numbers maker i stack depth)
      (when (> depth depth-limit)
        (fail i "nested deeper than " (number->string depth-limit)))
      (let ((head (list #f)))
        (next (+ i 1) (cons (vector 'numbers #\) head head #f maker) stack) (+ depth 1))))

    (define (close c i stack depth)
      (let ((frame (and (pair? stack) (car stack))))
        (if (and frame (memq (vector-ref frame 0) '(quote skip if-feature)))
            ;; What waits for a datum is dropped where its list ends: `(a ')` is `(a)`.
            (close c i (cdr stack) (- depth 1))
            (close-list frame c i stack depth))))

    (define (close-list frame c i stack depth)
      (unless frame (fail i "unexpected " (string c)))
      (unless (eq? c (vector-ref frame 1))
        (fail i "expected " (string (vector-ref frame 1)) " and not " (string c)))
      (when (eq? 'want (vector-ref frame 4)) (fail i "a datum is missing behind the dot"))
      (let ((items (cdr (vector-ref frame 2))))
        (deliver (case (vector-ref frame 0)
                   ((vector) (list->vector items))
                   ((numbers) (make-number-vector (vector-ref frame 5) items i))
                   (else items))
                 i (+ i 1) (cdr stack) (- depth 1))))

    ;; A datum that started at `at` and ends before `i` is whole: hand it to what waits for it.
    (define (deliver x at i stack depth)
      (if (null? stack)
          (values x i)
          (let ((frame (car stack)))
            (case (vector-ref frame 0)
              ((list vector numbers)
               (case (vector-ref frame 4)
                 ((#f)
                  (let ((pair (list x)))
                    (set-cdr! (vector-ref frame 3) pair)
                    (vector-set! frame 3 pair)
                    (next i stack depth)))
                 (else                  ; behind the tail there is nothing but the list's end
                  (set-cdr! (vector-ref frame 3) x)
                  (vector-set! frame 4 'have)
                  (let ((i (skip-atmosphere s i end)))
                    (unless (or (= i end) (memq (string-ref s i) '(#\) #\] #\})))
                      (fail i "more than one datum behind the dot"))
                    (next i stack depth)))))
              ((quote) (deliver (list (vector-ref frame 1) x) at i (cdr stack) (- depth 1)))
              ((skip) (next i (cdr stack) (- depth 1)))
              (else                     ; if-feature: two datums make one form
               (if (null? (vector-ref frame 1))
                   (begin (vector-set! frame 1 (list x)) (next i stack depth))
                   (deliver (list 'cond-expand (list (car (vector-ref frame 1)) x) (list 'else))
                            at i (cdr stack) (- depth 1))))))))

    (define (quoted symbol width i stack depth)
      (open (vector 'quote symbol) (+ i width -1) stack depth))

    (define (token i stack depth numeric?)
      (let ((e (if numeric? (small-end s i end) 0)))
        (if (> e 0)
            (deliver (small s i e) i e stack depth)
            (long-token i stack depth numeric?))))

    (define (long-token i stack depth numeric?)
      (call-with-values (lambda () (read-token s i end))
        (lambda (text keyword? e)
          (deliver (cond (keyword? (make-name text #t i))
                         (numeric? (number-or-name text i))
                         (else (make-name text #f i)))
                   i e stack depth))))

    (define (prefixed-number i stack depth)  ; #x1F #e#b101
      (call-with-values (lambda () (read-token s i end))
        (lambda (text keyword? e)
          (let ((n (and (not keyword?) (number-of text i))))
            (unless n (fail i "illegal number syntax"))
            (deliver n i e stack depth)))))

    (define (next i stack depth)
      (let ((i (skip-atmosphere s i end)))
        (if (>= i end)
            (if (null? stack)
                (values nothing end)
                (fail end "unexpected end inside a datum"))
            (let ((c (string-ref s i)))
              (case c
                ((#\() (open-list 'list #\) i stack depth))
                ((#\[) (open-list 'list #\] i stack depth))
                ((#\{) (open-list 'list #\} i stack depth))
                ((#\) #\] #\}) (close c i stack depth))
                ((#\")
                 (call-with-values (lambda () (read-delimited s (+ i 1) end #\"))
                   (lambda (x e) (deliver x i e stack depth))))
                ((#\') (quoted 'quote 1 i stack depth))
                ((#\`) (quoted 'quasiquote 1 i stack depth))
                ((#\,)
                 (if (and (< (+ i 1) end) (eq? #\@ (string-ref s (+ i 1))))
                     (quoted 'unquote-splicing 2 i stack depth)
                     (quoted 'unquote 1 i stack depth)))
                ((#\.) (dot i stack depth))
                ((#\#) (sharp i stack depth))
                ((#\+ #\-) (token i stack depth #t))
                (else (token i stack depth (char-numeric? c))))))))

    (define (dot i stack depth)
      (let ((c (if (< (+ i 1) end) (string-ref s (+ i 1)) #\space)))
        (if (or (char-whitespace? c) (memq c '(#\( #\) #\" #\;)))
            (let ((frame (and (pair? stack) (car stack))))
              (unless (and frame (eq? 'list (vector-ref frame 0))
                           (not (eq? (vector-ref frame 2) (vector-ref frame 3)))
                           (not (vector-ref frame 4)))
                (fail i "invalid use of the dot"))
              (vector-set! frame 4 'want)
              (next (+ i 1) stack depth))
            (begin
              (when (= (+ i 1) (abs-token-end s i end)) (fail i "invalid use of the dot"))
              (token i stack depth (or (null? stack) (char-numeric? c)))))))

    (define (sharp i stack depth)
      (when (>= (+ i 1) end) (fail i "unexpected end after #"))
      (let ((c (char-downcase (string-ref s (+ i 1)))))
        (case c
          ((#\() (open-list 'vector #\) (+ i 1) stack depth))
          ((#\\)
           (call-with-values (lambda () (read-char-datum s (+ i 2) end))
             (lambda (x e) (deliver x i e stack depth))))
          ((#\;) (open (vector 'skip) (+ i 1) stack depth))
          ((#\x #\d #\o #\b #\i #\e) (prefixed-number i stack depth))
          ((#\t #\f #\u #\s) (letter i stack depth))
          ((#\:)
           (call-with-values (lambda () (read-token s (+ i 2) end))
             (lambda (text colon? e)
               (when (= e (+ i 2)) (fail i "empty keyword"))
               (deliver (make-name (if colon? (string-append text ":") text) #t i) i e stack depth))))
          ((#\$)
           (if (and (< (+ i 2) end) (eq? #\{ (string-ref s (+ i 2))))
               (call-with-values (lambda () (read-blob s (+ i 3) end))
                 (lambda (x e) (deliver x i e stack depth)))
               (quoted 'location 2 i stack depth)))
          ((#\#)
           (let ((e (abs-token-end s (+ i 2) end)))
             (deliver (string->symbol (name! (or (qualified-name (substring s (+ i 2) e))
                                                 (fail i "invalid qualified symbol"))
                                             i))
                      i e stack depth)))
          ((#\%)                        ; CHICKEN 4 writes such symbols without bars
           (let ((e (abs-token-end s (+ i 1) end)))
             (deliver (make-name (substring s i e) #f i) i e stack depth)))
          ((#\') (quoted 'syntax 2 i stack depth))
          ((#\`) (quoted 'quasisyntax 2 i stack depth))
          ((#\+) (open (vector 'if-feature '()) (+ i 1) stack depth))
          ((#\!)
           (let* ((e (abs-token-end s (+ i 2) end))
                  (text (substring s (+ i 2) (min e (+ i 16)))))
             (cond ((string=? text "eof") (deliver #!eof i e stack depth))
                   ((member text '("optional" "rest" "key"))
                    (deliver (string->symbol (string-append "#!" text)) i e stack depth))
                   (else (fail i "invalid #! token")))))
          ((#\<)
           (let* ((text "#<unspecified>") (e (+ i (string-length text))))
             (if (and (<= e end) (string=? text (substring s i e)))
                 (deliver (void) i e stack depth)
                 (fail i "a value that has no external representation"))))
          (else (fail i "invalid sharp-sign syntax")))))

    ;; #t #f #u8( #f64( and their kin
    (define (letter i stack depth)
      (let* ((e (abs-token-end s (+ i 1) end))
             (text (substring s (+ i 1) (min e (+ i 8))))
             (maker (assoc text vector-makers))
             (items (if maker (skip-atmosphere s e end) end))
             (c (char-downcase (string-ref text 0))))
        (cond ((and (< items end) (eq? #\( (string-ref s items))) (open-numbers (cdr maker) items stack depth))
              ((string=? text "true") (deliver #t i e stack depth))
              ((or (string=? text "false") (and (eq? c #\f) (= e (+ i 2)))) (deliver #f i e stack depth))
              ((eq? c #\t) (deliver #t i (+ i 2) stack depth)) ; the rest, if any, is another datum, as in CHICKEN
              (else (fail i "invalid sharp-sign syntax")))))

    (next i '() 0))

  ;; The end of the token at `i`, bars and backslashes taken as they stand.
  (define (abs-token-end s i end)
    (let loop ((j i))
      (if (or (>= j end) (delimiter? (byte-ref s j))) j (loop (+ j 1))))))
