;;;; A connection: two green threads that read and write packets, and one more for every handler that runs.
;;;
;;; It knows when what is sent, answered, ended and closed. The bytes are src/wire.scm's, the sockets
;;; src/net.scm's. The life of a connection:
;;;
;;;   hello ─ open ─ ended ─ finished
;;;
;;; `ended` has a reason from then on: this side's own requests fail with it, and nothing more is read. Handlers
;;; that run go on; their answers are sent unless it was this side that closed. `finished`: the socket is closed and
;;; no thread of the connection is left.
;;;
;;; The mutex guards every field that more than one thread uses. Nothing that can raise an error, wait for the
;;; network or call the user's code is done while it is held.

(module bokbok-connection
  (connection? connection-user connection-addr close-connection! request!
   start-client-connection start-server-connection stop-connection!
   current-settings settings-connect-timeout settings-hello-timeout
   bokbok-packet-limit bokbok-depth-limit bokbok-name-limit bokbok-running-limit bokbok-waiting-limit
   bokbok-hello-timeout bokbok-connect-timeout bokbok-flush-timeout bokbok-guards
   with-lock wait-until guarded-call)
  (import scheme bokbok-compat bokbok-threads bokbok-waiting bokbok-system bokbok-errors bokbok-collections
          bokbok-net bokbok-datum-reader bokbok-datum-writer bokbok-wire
          (only bokbok-boxes key-size))

  ;; Limits. Each is taken when a connection is opened or a server started.

  (define (natural x)
    (if (and (fixnum? x) (> x 0)) x (invalid-error 'bokbok "a limit is a positive fixnum")))

  (define (seconds x)
    (if (and (number? x) (real? x) (> x 0)) x (invalid-error 'bokbok "a time is a positive number of seconds")))

  (define bokbok-packet-limit (make-parameter default-packet-limit natural))
  (define bokbok-depth-limit (make-parameter default-depth-limit natural))
  (define bokbok-name-limit (make-parameter default-name-limit natural))
  ;; Handlers that run at once, and requests that wait for one, per connection. Each running one is a thread.
  (define bokbok-running-limit (make-parameter 1024 natural))
  (define bokbok-waiting-limit (make-parameter 4096 natural))
  ;; Seconds. A client has this long to say a hello, whatever it sends meanwhile.
  (define bokbok-hello-timeout (make-parameter 10 seconds))
  ;; Seconds for name look-up and connection together; #f: as long as the system tries.
  (define bokbok-connect-timeout (make-parameter 30 (lambda (x) (and x (seconds x)))))
  ;; Seconds that the last packets may take without any progress, when the connection ends or the server stops.
  (define bokbok-flush-timeout (make-parameter 10 seconds))
  ;; The guards that are on. `strict-request-ids` may be added.
  (define bokbok-guards
    (make-parameter '(replayed-hello repeated-request reflected-packet)
      (lambda (x)
        (define known '(replayed-hello repeated-request reflected-packet strict-request-ids))
        (if (and (list? x) (let loop ((left x)) (or (null? left) (and (memq (car left) known) (loop (cdr left))))))
            x
            (invalid-error 'bokbok-guards (string-append "guards are a list of some of " (shown known)))))))

  ;; Bytes of requests that are being handled or wait, per connection: without it, the limits on their number
  ;; would let a peer fill the memory with large ones.
  (define held-bytes-limit 268435456)
  ;; A handler's answer or a request waits while more bytes than this wait to be written.
  (define unsent-high-water 1048576)
  ;; The error answers that the reading thread itself gives never wait; a peer that asks and never reads is cut off
  ;; when this much is unsent beside one packet of full size.
  (define unsent-refusals 4194304)
  ;; Milliseconds: how long unread input is taken in before a socket is closed (closing on unread input resets the
  ;; connection, and takes the last packets with it).
  (define linger-patience 2000)
  (define error-text-limit 100000)

  (define-record-type bokbok-settings
    (make-settings packet-limit depth-limit name-limit running-limit waiting-limit
                   hello-timeout connect-timeout flush-timeout guards)
    settings?
    (packet-limit settings-packet-limit) (depth-limit settings-depth-limit) (name-limit settings-name-limit)
    (running-limit settings-running-limit) (waiting-limit settings-waiting-limit)
    (hello-timeout settings-hello-timeout) (connect-timeout settings-connect-timeout)
    (flush-timeout settings-flush-timeout) (guards settings-guards))

  (define (current-settings)
    (make-settings (bokbok-packet-limit) (bokbok-depth-limit) (bokbok-name-limit)
                   (bokbok-running-limit) (bokbok-waiting-limit)
                   (bokbok-hello-timeout) (bokbok-connect-timeout) (bokbok-flush-timeout) (bokbok-guards)))

  (define-syntax with-lock
    (syntax-rules ()
      ((_ mutex body ...)
       (begin
         (mutex-lock! mutex)
         (let ((result (let () body ...)))
           (mutex-unlock! mutex)
           result)))))

  ;; Waits until something is so that depends on what the mutex guards, whose changes are told by `changed`.
  (define (wait-until mutex changed ready?)
    (with-lock mutex
      (let loop ()
        (unless (ready?)
          (mutex-unlock! mutex changed)
          (mutex-lock! mutex)
          (loop)))))

  ;; Calls the user's code: a pair whose car says whether it returned, its cdr what it returned or raised.
  (define (guarded-call proc . args)
    (handle-exceptions e (cons #f e)
      (call-with-values (lambda () (apply proc args))
        (lambda results (cons #t (if (null? results) (void) (car results)))))))

  (define-record-type bokbok-connection
    (%make-connection socket role user addr settings
                      request-handler close-handler on-finish
                      mutex changed write-changed read-waiter write-waiter
                      out in-buffer waiting pending)
    connection?
    (socket connection-socket)
    (role connection-role)                     ; client or server
    (user connection-user connection-user-set!)
    (addr connection-addr)
    (settings connection-settings)
    (request-handler connection-request-handler)
    (close-handler connection-close-handler)
    (on-finish connection-on-finish)           ; called once at the very end, or #f
    (mutex connection-mutex)
    (changed connection-changed)               ; broadcast: the outgoing queue shrank, or a thread ended
    (write-changed connection-write-changed)   ; signalled: there is something to write, or no more will come
    (read-waiter connection-read-waiter)
    (write-waiter connection-write-waiter)
    ;; reading
    (in-buffer in-buffer in-buffer-set!) (in-start in-start in-start-set!) (in-end in-end in-end-set!)
    (heard heard? heard-set!)                  ; whether a packet ever came
    ;; secrets of a secure connection; #f in an insecure one
    (session-key session-key session-key-set!)
    (sealer sealer sealer-set!)
    ;; requests of this side
    (waiting connection-waiting)               ; ID -> ticket #(CONDITION-VARIABLE RESULT)
    (next-id next-id next-id-set!)
    ;; requests of the other side
    (window request-window request-window-set!)
    (pending connection-pending)               ; queue of (ID DATUM SIZE)
    (running running running-set!)             ; handlers of requests and of the opening
    (held held held-set!)                      ; bytes of running and pending requests
    (ready handlers-ready? handlers-ready-set!) ; the open handler has returned
    (threads user-threads user-threads-set!)   ; threads that run the user's code, close handler too
    ;; writing
    (out connection-out)                       ; queue of strings
    (unsent unsent unsent-set!)                ; bytes in it and in the writer's hands
    (out-end out-end out-end-set!)             ; #f; `flush`: nothing more comes; `broken`: nothing can be sent
    (writer-gone writer-gone? writer-gone-set!)
    ;; the end
    (opened opened? opened-set!)               ; a secure one once its hello opened
    (reason end-reason end-reason-set!)        ; #f, or why it ended
    (ours ended-by-us? ours-set!)                    ; close-connection! or stop-server! asked for the end
    (draining draining? draining-set!)         ; stop-server! waits for the handlers that run
    (close-owed close-owed? close-owed-set!))  ; the close handler runs when the open handler has returned

  (define (guard? c name) (memq name (settings-guards (connection-settings c))))

  (define (make-connection socket role user addr settings request-handler close-handler on-finish)
    (let ((c (%make-connection socket role user addr settings request-handler close-handler on-finish
                               (make-mutex) (make-condition-variable) (make-condition-variable)
                               (make-waiter) (make-waiter)
                               (make-queue) (make-string 4096) (make-id-table) (make-queue))))
      (in-start-set! c 0)
      (in-end-set! c 0)
      (heard-set! c #f)
      (session-key-set! c #f)
      (sealer-set! c #f)
      (next-id-set! c 0)
      (request-window-set! c (make-window))
      (running-set! c 0)
      (held-set! c 0)
      (handlers-ready-set! c #f)
      (user-threads-set! c 0)
      (unsent-set! c 0)
      (out-end-set! c #f)
      (writer-gone-set! c #f)
      (opened-set! c #f)
      (end-reason-set! c #f)
      (ours-set! c #f)
      (draining-set! c #f)
      (close-owed-set! c #f)
      c))

  (define (where-from c)
    (let ((a (connection-addr c)))
      (one-line
        (string-append
          (if (eq? 'unix (car a)) (cadr a) (string-append (cadr a) " port " (number->string (caddr a))))
          (if (string? (connection-user c)) (string-append ", user " (shown (connection-user c))) "")))))

  (define (complain c . parts)
    (apply log-line (append parts (list " (" (where-from c) ")"))))

  (define (start-thread thunk name) (thread-start! (make-thread thunk name)))

  ;; The user's code may end its own thread (`thread-terminate!`), and nobody is told when a thread ends. So, while any
  ;; of them lives, one thread looks now and then which ended before `run` had returned, and calls their `gone`.
  (define watch-interval 1)             ; seconds
  (define watched '())                  ; #(THREAD GONE); GONE is #f once `run` has returned
  (define watching #f)
  (define watch-mutex (make-mutex))

  (define (start-user-thread run gone name)
    (let* ((entry (vector #f gone))
           (thread (make-thread (lambda () (run) (vector-set! entry 1 #f)) name)))
      (vector-set! entry 0 thread)
      (with-lock watch-mutex
        (set! watched (cons entry watched))
        (unless watching
          (set! watching #t)
          (start-thread watch 'bokbok-watch)))
      (thread-start! thread)))

  (define (watch)
    (thread-sleep! watch-interval)
    (let* ((ended '())
           (go-on? (with-lock watch-mutex
                     (let loop ((left watched) (alive '()))
                       (cond ((null? left) (set! watched alive))
                             ((not (vector-ref (car left) 1)) (loop (cdr left) alive))
                             ((thread-over? (vector-ref (car left) 0))
                              (set! ended (cons (vector-ref (car left) 1) ended))
                              (loop (cdr left) alive))
                             (else (loop (cdr left) (cons (car left) alive)))))
                     (set! watching (pair? watched))
                     watching)))
      (for-each (lambda (gone) (gone)) ended)
      (when go-on? (watch))))

  ;;; Writing

  ;; Puts a message's bytes into the queue, in its box if there is one. Called with the mutex held.
  (define (post! c body)
    (let* ((packet (if (session-key c) (seal! (sealer c) (session-key c) body) body))
           (size (+ packet-header-size (string-length packet))))
      (queue-add! (connection-out c) (packet-header (string-length packet)))
      (queue-add! (connection-out c) packet)
      (unsent-set! c (+ (unsent c) size))
      (condition-variable-signal! (connection-write-changed c))))

  ;; Waits, with the mutex held on entry and on return, until there is room in the queue or nobody takes from it.
  (define (wait-for-room! c)
    (when (and (> (unsent c) unsent-high-water) (not (out-end c)))
      (mutex-unlock! (connection-mutex c) (connection-changed c))
      (mutex-lock! (connection-mutex c))
      (wait-for-room! c)))

  ;; An answer of a handler's thread: waits while much is unsent.
  (define (post-answer! c body)
    (with-lock (connection-mutex c)
      (wait-for-room! c)
      (unless (out-end c) (post! c body))))

  ;; An answer of the reading thread: never waits.
  (define (post-refusal! c id text)
    (let ((body (error-bytes id text)))
      (with-lock (connection-mutex c)
        (unless (out-end c) (post! c body)))))

  ;; Takes what is to be written next: a string of up to 64 KiB of packets, or one longer one; #f at the end.
  (define (take-output! c)
    (define out (connection-out c))
    (with-lock (connection-mutex c)
      (let wait ()
        (cond ((eq? 'broken (out-end c)) #f)
              ((> (queue-count out) 0)
               (let loop ((parts (list (queue-pop! out))))
                 (if (and (> (queue-count out) 0) (< (string-length (car parts)) 16384) (< (length parts) 64))
                     (loop (cons (queue-pop! out) parts))
                     (concatenated (reverse parts)))))
              ((out-end c) #f)
              (else
               (mutex-unlock! (connection-mutex c) (connection-write-changed c))
               (mutex-lock! (connection-mutex c))
               (wait))))))

  ;; `apply` takes a limited number of arguments, so this does not use it.
  (define (concatenated parts)
    (if (null? (cdr parts))
        (car parts)
        (let* ((n (let sum ((p parts) (n 0)) (if (null? p) n (sum (cdr p) (+ n (string-length (car p)))))))
               (all (make-string n)))
          (let copy ((p parts) (at 0))
            (unless (null? p)
              (bytes-copy! all at (car p) 0 (string-length (car p)))
              (copy (cdr p) (+ at (string-length (car p))))))
          all)))

  (define (sent! c n)
    (with-lock (connection-mutex c)
      (unsent-set! c (- (unsent c) n))
      (condition-variable-broadcast! (connection-changed c))))

  ;; Nothing can be sent any more: what waits is dropped, and who waits for room goes on.
  (define (break-output! c)
    (with-lock (connection-mutex c)
      (out-end-set! c 'broken)
      (queue-clear! (connection-out c))
      (condition-variable-signal! (connection-write-changed c))
      (condition-variable-broadcast! (connection-changed c)))
    (cancel-wait! (connection-write-waiter c)))

  (define (write-packets c)
    (define fd (socket-fileno (connection-socket c)))
    (define patience (settings-flush-timeout (connection-settings c)))
    (define (send-all text)
      (let loop ((start 0))
        (if (= start (string-length text))
            #t
            (case (wait-for-fd! (connection-write-waiter c) fd #:output (limit-after patience))
              ((ready)
               (let ((n (send-some (connection-socket c) text start (string-length text))))
                 (if (string? n)
                     n
                     (begin (sent! c n) (loop (+ start n))))))
              ;; A slow reader may be slow; one that has ended, or to whom nothing more will be said, has this long.
              ((timeout)
               (if (or (out-end c) (end-reason c) (draining? c)) "the other end takes nothing in" (loop start)))
              (else "closed")))))
    (let loop ()
      (let ((text (take-output! c)))
        (when text
          (let ((result (send-all text)))
            (if (string? result)
                (begin
                  (break-output! c)
                  ;; The reading thread learns of it from the socket, or from this.
                  (end! c result)
                  (cancel-wait! (connection-read-waiter c)))
                (loop))))))
    (with-lock (connection-mutex c)
      (writer-gone-set! c #t)
      (condition-variable-broadcast! (connection-changed c))))

  ;;; Reading

  ;; Makes `n` bytes available from in-start on: #t, or why not: `eof`, `timeout`, `cancelled`, (failed MESSAGE). The
  ;; buffer grows with what has come, not with what a header promises.
  (define (need! c n limit)
    (define fd (socket-fileno (connection-socket c)))
    (let loop ()
      (let ((have (- (in-end c) (in-start c))))
        (if (>= have n)
            #t
            (begin
              (make-room! c n have)
              (case (wait-for-fd! (connection-read-waiter c) fd #:input limit)
                ((timeout) 'timeout)
                ((cancelled) 'cancelled)
                (else
                 (let ((got (receive-some! (connection-socket c) (in-buffer c) (in-end c)
                                           (string-length (in-buffer c)))))
                   (cond ((not got) (loop))
                         ((string? got) (list 'failed got))
                         ((= got 0) 'eof)
                         (else (in-end-set! c (+ (in-end c) got)) (loop)))))))))))

  (define (make-room! c n have)
    (let* ((buf (in-buffer c)) (size (string-length buf)))
      (define (move-to! new)
        (bytes-copy! new 0 buf (in-start c) have)
        (in-buffer-set! c new)
        (in-start-set! c 0)
        (in-end-set! c have))
      (cond ((and (= have 0) (> size 65536)) (move-to! (make-string 4096)))
            ((< (in-end c) size))
            ((> (in-start c) 0) (move-to! buf))
            (else (move-to! (make-string (min (* 2 size) (max n 65536))))))))

  ;; The next packet, a string; or what `need!` says; or `cut`, an end within a packet; or (too-long N).
  (define (read-packet c size-limit limit)
    (let ((state (need! c packet-header-size limit)))
      (if (not (eq? state #t))
          (if (and (eq? state 'eof) (> (in-end c) (in-start c))) 'cut state)
          (let ((n (bytes->u32 (in-buffer c) (in-start c))))
            (if (> n size-limit)
                (list 'too-long n)
                (let ((state (need! c (+ packet-header-size n) limit)))
                  (if (not (eq? state #t))
                      (if (eq? state 'eof) 'cut state)
                      (let* ((start (+ (in-start c) packet-header-size))
                             (packet (substring (in-buffer c) start (+ start n))))
                        (in-start-set! c (+ start n))
                        packet))))))))

  ;; How reading ended, and why as text, two values: `eof` (the other end closed its direction), `failed` (the socket
  ;; did), `refused` (this end stops listening to the other), `ours` (close-connection!, stop-server!, or a failed
  ;; write has ended it already).
  (define (reading-ended result)
    (cond ((eq? result 'eof) (values 'eof "the other end closed the connection"))
          ((eq? result 'cut) (values 'eof "the other end closed the connection in the middle of a packet"))
          ((eq? result 'timeout) (values 'refused "the client did not say its hello in time (bokbok-hello-timeout)"))
          ((eq? result 'cancelled) (values 'ours "the server was stopped"))
          ((eq? 'failed (car result)) (values 'failed (cadr result)))
          (else (values 'refused (string-append "protocol error: a packet of " (number->string (cadr result))
                                                " bytes is over the limit (bokbok-packet-limit)")))))

  ;; The body of a message's packet, or #f and a complaint (two values).
  (define (packet-body c packet)
    (cond ((not (session-key c)) (values packet #f))
          ((and (guard? c 'reflected-packet) (string=? (box-prefix packet) (sealer-prefix (sealer c))))
           (values #f "a packet that this side sent came back to it"))
          ((open-box (session-key c) packet) => (lambda (body) (values body #f)))
          (else (values #f "a packet does not open under the session key"))))

  ;; Reads packets until the end: the two values of `reading-ended`.
  (define (read-packets c)
    (define settings (connection-settings c))
    (let loop ()
      (let ((packet (read-packet c (settings-packet-limit settings) #f)))
        (if (not (string? packet))
            (reading-ended packet)
            (call-with-values (lambda () (packet-body c packet))
              (lambda (body why)
                (let ((why (or why
                               (begin
                                 (heard-set! c #t)
                                 (take-message! c body
                                   (parse-message body (settings-depth-limit settings)
                                                  (settings-name-limit settings)))))))
                  (cond (why (values 'refused (string-append "protocol error: " why)))
                        ((> (unsent c) (+ unsent-refusals (settings-packet-limit settings)))
                         (complain c "the other end sends requests and does not read the answers")
                         (values 'failed "the other end does not read its answers"))
                        (else (loop))))))))))

  ;; Does what a message asks for: #f, or the protocol's rule that it broke.
  (define (take-message! c body message)
    (case (car message)
      ((request)
       (or (repeated? c (cadr message))
           (begin (take-request! c (cadr message) (caddr message) (string-length body)) #f)))
      ((response) (settle! c (cadr message) (list 'response (caddr message))))
      ((error) (settle! c (cadr message) (list 'remote (caddr message))))
      ((unreadable)
       (let ((id (caddr message)) (why (cadddr message)))
         (if (eq? 'request (cadr message))
             (or (repeated? c id)
                 (begin (post-refusal! c id (string-append "the request cannot be read: " why)) #f))
             (settle! c id (list 'remote (string-append "the answer cannot be read: " why))))))
      (else (cadr message))))

  (define (repeated? c id)
    (and (guard? c 'repeated-request)
         (not (window-admit! (request-window c) id (guard? c 'strict-request-ids)))
         (string-append "request " (number->string id) " was sent before")))

  ;;; Requests of the other side

  (define stopping-text "the server is stopping and takes no new requests")

  (define (take-request! c id datum size)
    (define settings (connection-settings c))
    (let ((refusal
            (with-lock (connection-mutex c)
              (cond ((draining? c) stopping-text)
                    ((not (connection-request-handler c)) "this end has no request handler")
                    ((> (+ size (held c)) held-bytes-limit) (string-append "too many requests: their data exceed "
                                    (number->string held-bytes-limit) " bytes"))
                    ((and (handlers-ready? c) (< (running c) (settings-running-limit settings)))
                     (held-set! c (+ size (held c)))
                     (start-handler! c id datum size)
                     #f)
                    ((< (queue-count (connection-pending c)) (settings-waiting-limit settings))
                     (held-set! c (+ size (held c)))
                     (queue-add! (connection-pending c) (list id datum size))
                     #f)
                    (else
                     (string-append "too many requests: " (number->string (running c)) " handlers are running and "
                                    (number->string (queue-count (connection-pending c))) " requests waiting"))))))
      (when refusal (post-refusal! c id refusal))))

  ;; Called with the mutex held.
  (define (start-handler! c id datum size)
    (running-set! c (+ 1 (running c)))
    (user-threads-set! c (+ 1 (user-threads c)))
    (let ((current (cons id size)))     ; of the request that the thread is at
      (start-user-thread (lambda () (handle-request c current datum)) (lambda () (handler-gone! c current))
                         'bokbok-request)))

  ;; A thread goes on to the next pending request rather than end and start another.
  (define (handle-request c current datum)
    (post-answer! c (answer c (car current) datum))
    (let ((next (with-lock (connection-mutex c)
                  (held-set! c (- (held c) (cdr current)))
                  (if (> (queue-count (connection-pending c)) 0)
                      (queue-pop! (connection-pending c))
                      (begin (handler-ended! c) #f)))))
      (when next
        (set-car! current (car next))
        (set-cdr! current (caddr next))
        (handle-request c current (cadr next)))))

  (define (handler-gone! c current)
    (post-refusal! c (car current) "the request handler ended its own thread without an answer")
    (with-lock (connection-mutex c)
      (held-set! c (- (held c) (cdr current)))
      (when (> (queue-count (connection-pending c)) 0)
        (apply start-handler! c (queue-pop! (connection-pending c))))
      (handler-ended! c)))

  ;; Called with the mutex held.
  (define (handler-ended! c)
    (running-set! c (- (running c) 1))
    (user-threads-set! c (- (user-threads c) 1))
    (when (and (draining? c) (= 0 (running c)))
      (cancel-wait! (connection-read-waiter c)))
    (condition-variable-broadcast! (connection-changed c)))

  (define (body-limit c)
    (max 1 (- (settings-packet-limit (connection-settings c)) message-room)))

  (define (limited-text c text)
    (let ((limit (min error-text-limit (quotient (settings-packet-limit (connection-settings c)) 8))))
      (if (> (string-length text) limit)
          (string-append (substring text 0 limit) "...")
          text)))

  ;; The bytes that answer a request: of what the handler returned, or of the error.
  (define (answer c id datum)
    (define settings (connection-settings c))
    (let ((result (guarded-call (connection-request-handler c) c datum)))
      (if (car result)
          (let ((payload (guarded-call write-datum (cdr result) (body-limit c)
                                       (settings-depth-limit settings) "answer")))
            (if (car payload)
                (response-bytes id (cdr payload))
                (error-bytes id (limited-text c (unwritable-text (cdr payload))))))
          (error-bytes id (limited-text c (condition-text (cdr result)
                                                          (lambda (x) (shown x error-text-limit))))))))

  (define (unwritable-text e)
    (if (unwritable? e) (unwritable-message e) (condition-text e shown)))

  ;;; Requests of this side

  ;; The result of a request is there: wakes its thread. #f, or the rule that an answer nobody waits for broke.
  (define (settle! c id result)
    (with-lock (connection-mutex c)
      (let ((ticket (id-table-take! (connection-waiting c) id)))
        (if ticket
            (begin (settle-ticket! ticket result) #f)
            (string-append "an answer to request " (number->string id) ", which does not wait for one"
                           " (answered twice, or never asked)")))))

  (define (settle-ticket! ticket result)
    (vector-set! ticket 1 result)
    (condition-variable-signal! (vector-ref ticket 0)))

  ;; Sends the message and waits for the answer.
  (define (request! c message)
    (unless (connection? c) (invalid-error 'request! "not a connection"))
    (let* ((settings (connection-settings c))
           (payload (condition-case
                        (write-datum message (body-limit c) (settings-depth-limit settings) "message")
                      (e (bokbok-unwritable) (invalid-error 'request! (unwritable-message e)))))
           (ticket (vector (make-condition-variable) #f))
           (refused (with-lock (connection-mutex c)
                      (wait-for-room! c)
                      (or (end-reason c)
                          (and (out-end c) "the connection is closed")
                          (let ((id (next-id c)))
                            (next-id-set! c (+ id 1))
                            (id-table-set! (connection-waiting c) id ticket)
                            (post! c (request-bytes id payload))
                            #f)))))
      (when refused (network-error 'request! refused))
      (mutex-lock! (connection-mutex c))
      (let wait ()
        (unless (vector-ref ticket 1)
          (mutex-unlock! (connection-mutex c) (vector-ref ticket 0))
          (mutex-lock! (connection-mutex c))
          (wait)))
      (mutex-unlock! (connection-mutex c))
      (let ((result (vector-ref ticket 1)))
        (case (car result)
          ((response) (cadr result))
          ((remote) (remote-error 'request! (cadr result)))
          (else (network-error 'request! (cadr result)))))))

  ;;; The end

  ;; The connection ends for `reason`, if it has not: waiting requests fail, and the close handler runs unless this
  ;; side asked for the end. `ours?`: it did.
  (define (end! c reason #!optional ours?)
    (with-lock (connection-mutex c)
      (unless (end-reason c)
        (let ((reason (string-append reason (likely-cause c ours?))))
          (end-reason-set! c reason)
          (when ours? (ours-set! c #t))
          (for-each (lambda (ticket) (settle-ticket! ticket (list 'network reason)))
                    (id-table-take-all! (connection-waiting c)))
          (when (and (opened? c) (not (ended-by-us? c)) (connection-close-handler c))
            (if (handlers-ready? c)
                (start-close-handler! c)
                (close-owed-set! c #t)))))))

  (define (likely-cause c ours?)
    (if (and (eq? 'client (connection-role c)) (not ours?) (not (heard? c)))
        (if (connection-user c)
            (string-append " before it answered anything: most likely the passphrase is wrong, the server does not"
                           " know the user, or it takes no encrypted connections")
            (string-append " before it answered anything: most likely the server takes encrypted connections only"))
        ""))

  ;; Called with the mutex held.
  (define (start-close-handler! c)
    (user-threads-set! c (+ 1 (user-threads c)))
    (let ((over (lambda ()
                  (with-lock (connection-mutex c)
                    (user-threads-set! c (- (user-threads c) 1))
                    (condition-variable-broadcast! (connection-changed c))))))
      (start-user-thread
        (lambda ()
          (let ((result (guarded-call (connection-close-handler c) c)))
            (unless (car result)
              (complain c "the close handler failed: " (one-line (condition-text (cdr result) shown)))))
          (over))
        over 'bokbok-close)))

  (define (close-connection! c)
    (unless (connection? c) (invalid-error 'close-connection! "not a connection"))
    (with-lock (connection-mutex c) (ours-set! c #t))
    (end! c "the connection was closed by this side" #t)
    (end-output! c)
    (cancel-wait! (connection-read-waiter c))
    (void))

  ;; Nothing more will be put into the queue.
  (define (end-output! c)
    (with-lock (connection-mutex c)
      (unless (out-end c) (out-end-set! c 'flush))
      (condition-variable-signal! (connection-write-changed c))
      (condition-variable-broadcast! (connection-changed c))))

  ;; For stop-server!: handlers that run finish first, whatever else comes is refused. Returns at once.
  (define (stop-connection! c)
    (let ((refused
            (with-lock (connection-mutex c)
              (draining-set! c #t)
              (ours-set! c #t)
              (close-owed-set! c #f)
              (when (= 0 (running c)) (cancel-wait! (connection-read-waiter c)))
              (let ((pending (queue-clear! (connection-pending c))))
                (for-each (lambda (p) (held-set! c (- (held c) (caddr p)))) pending)
                pending))))
      (for-each (lambda (p) (post-refusal! c (car p) stopping-text)) refused)))

  ;; Everything after the last packet; `how` is of `reading-ended`.
  (define (finish! c how)
    (define socket (connection-socket c))
    (define (wait-for ready?) (wait-until (connection-mutex c) (connection-changed c) ready?))
    (case how
      ((eof) (wait-for (lambda () (or (out-end c) (= 0 (running c))))))
      ((failed) (break-output! c)))
    (end-output! c)
    (with-lock (connection-mutex c) (queue-clear! (connection-pending c)))
    (wait-for (lambda () (writer-gone? c)))
    (half-close socket)
    (when (memq how '(refused ours)) (linger c))
    (close-socket socket)
    (with-lock (connection-mutex c)
      (session-key-set! c #f)
      (in-buffer-set! c ""))
    (wait-for (lambda () (= 0 (user-threads c))))
    (when (connection-on-finish c) ((connection-on-finish c) c)))

  ;; Takes in what the other end still sends, until it closes or patience ends.
  (define (linger c)
    (let ((waiter (make-waiter))
          (fd (socket-fileno (connection-socket c)))
          (limit (+ (now-ms) linger-patience))
          (buf (make-string 16384)))
      (let loop ()
        (when (eq? 'ready (wait-for-fd! waiter fd #:input limit))
          (let ((n (receive-some! (connection-socket c) buf 0 (string-length buf))))
            (when (or (not n) (and (fixnum? n) (> n 0))) (loop)))))))

  ;; The two values of `thunk`, or those of `reading-ended` for what should not happen: an error in this egg, or a system
  ;; without random bytes. The thread must live to end the connection.
  (define (without-error thunk)
    (handle-exceptions e
        (let ((text (condition-text e shown)))
          (log-line "internal error: " (one-line text))
          (values 'failed (string-append "internal error: " text)))
      (thunk)))

  ;; The reading thread's life once the connection is open.
  (define (serve c)
    (call-with-values (lambda () (without-error (lambda () (read-packets c))))
      (lambda (how why)
        (when (eq? how 'refused) (complain c (one-line why)))
        (end! c why (eq? how 'ours))
        (finish! c how))))

  ;;; Beginnings

  (define (start-writer! c)
    (start-thread (lambda () (write-packets c)) 'bokbok-writer))

  ;; A client's connection on a socket that is connected: says hello if there is a key, and returns it, open.
  (define (start-client-connection socket addr user key settings request-handler close-handler)
    (let ((c (make-connection socket 'client user addr settings request-handler close-handler #f)))
      (when key
        (let* ((secret (random-bytes key-size))
               (mine (make-sealer))
               (box (seal! mine (key-bytes key) secret)))
          (post! c user)
          (post! c box)
          (session-key-set! c secret)
          (sealer-set! c mine)))
      (opened-set! c #t)
      (handlers-ready-set! c #t)
      (start-writer! c)
      (start-thread (lambda () (serve c)) 'bokbok-reader)
      c))

  ;; A server's connection on a socket that was accepted. `authenticate` is #f (insecure), or a procedure from the
  ;; user's name to a key or #f. `hellos` remembers those that were accepted. Returns at once.
  (define (start-server-connection socket addr authenticate hellos settings
                                   open-handler request-handler close-handler on-finish)
    (let ((c (make-connection socket 'server #f addr settings request-handler close-handler on-finish)))
      (start-thread
        (lambda ()
          (call-with-values
            (lambda ()
              (if authenticate
                  (without-error (lambda () (take-hello! c authenticate hellos)))
                  (values #f #f)))
            (lambda (how why)
              (start-writer! c)
              (if how
                  (begin
                    (when (eq? how 'refused) (complain c "hello refused: " (one-line why)))
                    (end! c why #t)
                    (finish! c how))
                  (begin
                    (with-lock (connection-mutex c) (opened-set! c #t))
                    (run-open-handler! c open-handler)
                    (serve c))))))
        'bokbok-reader)
      c))

  (define (run-open-handler! c open-handler)
    (if (not open-handler)
        (with-lock (connection-mutex c) (handlers-ready-set! c #t))
        (begin
          (with-lock (connection-mutex c)
            (running-set! c (+ 1 (running c)))
            (user-threads-set! c (+ 1 (user-threads c))))
          (start-user-thread
            (lambda ()
              (let ((result (guarded-call open-handler c)))
                (unless (car result)
                  (complain c "the open handler failed: " (one-line (condition-text (cdr result) shown)))))
              (opening-ended! c))
            (lambda () (opening-ended! c))
            'bokbok-open))))

  (define (opening-ended! c)
    (with-lock (connection-mutex c)
      (handlers-ready-set! c #t)
      (let loop ()
        (when (and (> (queue-count (connection-pending c)) 0)
                   (< (running c) (settings-running-limit (connection-settings c))))
          (apply start-handler! c (queue-pop! (connection-pending c)))
          (loop)))
      (when (close-owed? c)
        (close-owed-set! c #f)
        (start-close-handler! c))
      (handler-ended! c)))

  ;; Takes the two packets of a hello: #f and #f if it opened, else the two values of `reading-ended`. An unknown
  ;; user, a wrong key and a replayed hello take the same way: all are refused only when the second packet is there,
  ;; after the same work.
  (define (take-hello! c authenticate hellos)
    (define limit (limit-after (settings-hello-timeout (connection-settings c))))
    (define (refuse why) (values 'refused why))
    (let ((user (read-packet c user-limit limit)))
      (if (not (string? user))
          (reading-ended user)
          (let* ((key (authenticate user))
                 (box (read-packet c session-key-packet-size limit)))
            (connection-user-set! c user)
            (if (not (string? box))
                (reading-ended box)
                (let* ((mine (make-sealer))
                       (secret (open-box (if key (key-bytes key) (random-bytes key-size)) box)))
                  (cond ((not (= (string-length box) session-key-packet-size))
                         (refuse (string-append "the session key's packet has " (number->string (string-length box))
                                                " bytes; expected " (number->string session-key-packet-size))))
                        ((not (and key secret)) (refuse "unknown user or wrong key"))
                        ((not (or (hellos box) (not (guard? c 'replayed-hello))))
                         (refuse
                           (string-append
                             "it was seen before. Somebody replayed it; or the client's random numbers repeat"
                             " themselves after a restart (a client that never seeds them), which is unsafe: to let"
                             " it in all the same, take replayed-hello out of (bokbok-guards)")))
                        (else
                         (session-key-set! c secret)
                         (sealer-set! c mine)
                         (values #f #f))))))))))
