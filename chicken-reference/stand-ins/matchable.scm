;;;; The part of `match` that bokbok uses, for a CHICKEN without the matchable egg.
;;;
;;; Patterns: `_`, a name, 'DATUM, a literal, (P . P), (? PREDICATE P ...). The first clause whose pattern matches
;;; is taken; if none does, it is an error.

(module bokbok-matchable
  (match)
  (import scheme bokbok-compat)
  (cond-expand
    (chicken-5 (import-for-syntax scheme (chicken base)))
    (else (import-for-syntax scheme chicken)))

  (define-syntax match
    (er-macro-transformer
      (lambda (form rename compare)
        (let ((%let (rename 'let)) (%if (rename 'if)) (%lambda (rename 'lambda)) (%quote (rename 'quote))
              (%and (rename 'and)) (%equal? (rename 'equal?)) (%pair? (rename 'pair?)) (%car (rename 'car))
              (%cdr (rename 'cdr)) (%null? (rename 'null?)) (%error (rename 'error)) (%begin (rename 'begin))
              (%value (rename 'value)) (%next (rename 'next)))
          ;; Code that runs `success` if the value of the name `x` matches, and otherwise calls `next`.
          (define (test pattern x success depth)
            (define (fresh base) (rename (string->symbol (string-append base (number->string depth)))))
            (cond ((null? pattern) `(,%if (,%null? ,x) ,success (,%next)))
                  ((symbol? pattern)
                   (if (compare pattern (rename '_)) success `(,%let ((,pattern ,x)) ,success)))
                  ((not (pair? pattern)) `(,%if (,%equal? ,x ,pattern) ,success (,%next)))
                  ((and (symbol? (car pattern)) (compare (car pattern) %quote))
                   `(,%if (,%equal? ,x (,%quote ,(cadr pattern))) ,success (,%next)))
                  ((and (symbol? (car pattern)) (compare (car pattern) (rename '?)))
                   `(,%if (,(cadr pattern) ,x)
                          ,(let loop ((more (cddr pattern)))
                             (if (null? more) success (test (car more) x (loop (cdr more)) (+ depth 1))))
                          (,%next)))
                  (else
                   (let ((a (fresh "head")) (d (fresh "tail")))
                     `(,%if (,%pair? ,x)
                            (,%let ((,a (,%car ,x)) (,d (,%cdr ,x)))
                              ,(test (car pattern) a (test (cdr pattern) d success (+ depth 1))
                                     (+ depth 1000)))
                            (,%next))))))
          `(,%let ((,%value ,(cadr form)))
             ,(let loop ((clauses (cddr form)))
                (if (null? clauses)
                    `(,%error "no clause of match takes the value")
                    `(,%let ((,%next (,%lambda () ,(loop (cdr clauses)))))
                       ,(test (caar clauses) %value `(,%let () ,@(cdar clauses)) 0))))))))))
