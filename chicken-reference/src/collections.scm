;;;; Two small collections that CHICKEN 5 has only as eggs: a queue, and a table keyed by natural numbers.

(module bokbok-collections
  (make-queue queue-add! queue-pop! queue-count queue-clear!
   make-id-table id-table-set! id-table-take! id-table-take-all!)
  (import scheme bokbok-compat)

  (define-record-type bokbok-queue
    (%make-queue head last count) queue?
    (head queue-head queue-head-set!) (last queue-last queue-last-set!) (count queue-count queue-count-set!))

  (define (make-queue) (%make-queue '() #f 0))

  (define (queue-add! q x)
    (let ((pair (list x)))
      (if (null? (queue-head q)) (queue-head-set! q pair) (set-cdr! (queue-last q) pair))
      (queue-last-set! q pair)
      (queue-count-set! q (+ 1 (queue-count q)))))

  ;; The queue must not be empty.
  (define (queue-pop! q)
    (let ((pair (queue-head q)))
      (queue-head-set! q (cdr pair))
      (queue-count-set! q (- (queue-count q) 1))
      (car pair)))

  ;; Empties the queue: what it held, in order.
  (define (queue-clear! q)
    (let ((items (queue-head q)))
      (queue-head-set! q '())
      (queue-count-set! q 0)
      items))

  ;; IDs rise by one, so that buckets by remainder stay even; the table grows with what it holds.
  (define-record-type bokbok-id-table
    (%make-id-table buckets count) id-table?
    (buckets id-table-buckets id-table-buckets-set!) (count id-table-count id-table-count-set!))

  (define (make-id-table) (%make-id-table (make-vector 16 '()) 0))

  (define (insert! buckets id value)
    (let ((b (modulo id (vector-length buckets))))
      (vector-set! buckets b (cons (cons id value) (vector-ref buckets b)))))

  (define (id-table-set! t id value)
    (when (> (id-table-count t) (* 2 (vector-length (id-table-buckets t))))
      (let ((bigger (make-vector (* 4 (vector-length (id-table-buckets t))) '())))
        (for-each (lambda (entry) (insert! bigger (car entry) (cdr entry))) (entries t))
        (id-table-buckets-set! t bigger)))
    (insert! (id-table-buckets t) id value)
    (id-table-count-set! t (+ 1 (id-table-count t))))

  ;; Removes the entry: its value, or #f if there was none.
  (define (id-table-take! t id)
    (let* ((buckets (id-table-buckets t))
           (b (modulo id (vector-length buckets)))
           (entry (assv id (vector-ref buckets b))))
      (and entry
           (begin
             (vector-set! buckets b
               (let without ((list (vector-ref buckets b)))
                 (if (eq? entry (car list)) (cdr list) (cons (car list) (without (cdr list))))))
             (id-table-count-set! t (- (id-table-count t) 1))
             (cdr entry)))))

  (define (entries t)
    (let loop ((i 0) (all '()))
      (if (= i (vector-length (id-table-buckets t)))
          all
          (loop (+ i 1) (append (vector-ref (id-table-buckets t) i) all)))))

  ;; Empties the table: the values it held.
  (define (id-table-take-all! t)
    (let ((values (map cdr (entries t))))
      (id-table-buckets-set! t (make-vector 16 '()))
      (id-table-count-set! t 0)
      values)))
