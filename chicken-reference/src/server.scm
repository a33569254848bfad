;;;; A server: listens, and makes a connection of every socket that it accepts.

(module bokbok-server
  (start-server stop-server! wait-until-server-stopped server-addr server? open-connection!)
  (import scheme bokbok-compat bokbok-threads bokbok-waiting bokbok-system bokbok-errors
          bokbok-address bokbok-net bokbok-wire bokbok-connection bokbok-datum-writer)

  (define (check-handler where what x)
    (unless (or (not x) (procedure? x)) (invalid-error where (string-append what " is a procedure or #f"))))

  ;; A client

  (define (open-connection! address user key request-handler close-handler)
    (let ((where 'open-connection!) (settings (current-settings)))
      (check-handler where "a request handler" request-handler)
      (check-handler where "a close handler" close-handler)
      (cond ((and (not user) (not key)))
            ((not (and (string? user) (key? key)))
             (invalid-error where "expected a user's name and a key of passphrase->key, or #f for both"))
            ((> (string-length user) user-limit)
             (invalid-error where (string-append "a user's name has at most " (number->string user-limit)
                                                 " bytes"))))
      (let ((canonical (parse-address where address #f)))
        (ignore-sigpipe!)
        (let ((so (connect-address where canonical (settings-connect-timeout settings))))
          (set-up-connection! so canonical)
          (start-client-connection so (peer-address so canonical) user key settings
                                   request-handler close-handler)))))

  ;; The server

  (define-record-type bokbok-server
    (%make-server bound waiter mutex changed connections stopping listening)
    server?
    (bound server-bound) (waiter server-waiter) (mutex server-mutex) (changed server-changed)
    (connections server-connections server-connections-set!)
    (stopping server-stopping? server-stopping-set!)
    (listening server-listening? server-listening-set!))

  ;; One memory for all servers of the process: a hello to one of them does not open another.
  (define hellos (make-memory))
  (define hellos-mutex (make-mutex))
  (define (new-hello? box) (with-lock hellos-mutex (memory-admit! hellos box)))

  ;; The key of a user, by the callback of the server's author; #f for whatever is not a key.
  (define ((authenticator user->key) user)
    (let ((result (guarded-call user->key user)))
      (cond ((not (car result))
             (log-line "user->key failed: " (one-line (condition-text (cdr result) shown)))
             #f)
            ((key? (cdr result)) (cdr result))
            ((not (cdr result)) #f)
            (else (log-line "user->key returned neither a key nor #f") #f))))

  (define (start-server bind-addr backlog user->key open-handler request-handler close-handler)
    (let ((where 'start-server))
      (check-handler where "user->key" user->key)
      (check-handler where "an open handler" open-handler)
      (check-handler where "a request handler" request-handler)
      (check-handler where "a close handler" close-handler)
      (unless (and (fixnum? backlog) (>= backlog 0)) (invalid-error where "the backlog is a fixnum >= 0"))
      (let ((address (parse-address where bind-addr #t)))
        (ignore-sigpipe!)
        (let* ((settings (current-settings))
               (bound (bind-address where address backlog))
               (server (%make-server bound (make-waiter) (make-mutex) (make-condition-variable) '() #f #t))
               (authenticate (and user->key (authenticator user->key))))
          (thread-start!
            (make-thread
              (lambda ()
                (accept-connections server
                  (lambda (so)
                    (let ((addr (peer-address so (bound-address bound))))
                      (set-up-connection! so (bound-address bound))
                      (start-server-connection so addr authenticate new-hello? settings
                                               open-handler request-handler close-handler
                                               (lambda (c) (forget! server c)))))))
              'bokbok-listener))
          server))))

  (define (accept-connections server start!)
    (define bound (server-bound server))
    (define fd (socket-fileno (bound-socket bound)))
    ;; `trouble` is what kept the last try from accepting one: it is said once, not at each try.
    (let loop ((trouble #f))
      (unless (eq? 'cancelled (wait-for-fd! (server-waiter server) fd #:input #f))
        (let ((so (accept-socket bound)))
          (cond (((condition-predicate 'timeout) so)
                 (loop trouble))
                ((condition? so)
                 (let ((text (one-line (condition-text so shown))))
                   (unless (equal? text trouble) (log-line "a connection cannot be accepted: " text))
                   ;; Most likely no descriptor is free: to try again at once would only burn time.
                   (thread-sleep! 0.1)
                   (loop text)))
                (else
                 ;; The mutex is held so that a connection that ends at once is not forgotten before it is known.
                 (let ((result (with-lock (server-mutex server)
                                 (let ((result (guarded-call start! so)))
                                   (when (car result)
                                     (server-connections-set! server
                                       (cons (cdr result) (server-connections server))))
                                   result))))
                   (unless (car result)
                     (close-socket so)
                     (log-line "a connection cannot be served: " (one-line (condition-text (cdr result) shown)))))
                 (loop #f))))))
    (bound-unbind! bound)
    (with-lock (server-mutex server)
      (server-listening-set! server #f)
      (condition-variable-broadcast! (server-changed server))))

  (define (forget! server c)
    (with-lock (server-mutex server)
      (server-connections-set! server
        (let without ((list (server-connections server)) (kept '()))
          (cond ((null? list) kept)
                ((eq? c (car list)) (append kept (cdr list)))
                (else (without (cdr list) (cons (car list) kept))))))
      (condition-variable-broadcast! (server-changed server))))

  (define (check-server where x)
    (unless (server? x) (invalid-error where "not a server")))

  ;; Returns once nothing listens any more; the connections end when their running handlers have.
  (define (stop-server! server)
    (check-server 'stop-server! server)
    (with-lock (server-mutex server) (server-stopping-set! server #t))
    (cancel-wait! (server-waiter server))
    (wait-until (server-mutex server) (server-changed server) (lambda () (not (server-listening? server))))
    (for-each stop-connection! (with-lock (server-mutex server) (server-connections server)))
    (void))

  ;; Returns once the server was stopped and all its connections and handlers are over.
  (define (wait-until-server-stopped server)
    (check-server 'wait-until-server-stopped server)
    (wait-until (server-mutex server) (server-changed server)
      (lambda () (and (not (server-listening? server)) (null? (server-connections server)))))
    (void))

  ;; The address that the server is bound to, with the port that the system chose where 0 was asked for.
  (define (server-addr server)
    (check-server 'server-addr server)
    (bound-address (server-bound server))))
