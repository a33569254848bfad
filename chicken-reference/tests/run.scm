;; The installed egg, used as a program would: `chicken-install -test` and salmonella run this. The project's own tests are
;; in ../../tests/chicken, and the conformance suite.

(cond-expand
  (chicken-5 (import scheme (chicken base) (chicken condition) (chicken format) bokbok bokbok-threads))
  (else (use extras bokbok)))

(define failed 0)
(define (check what expected actual)
  (cond ((equal? expected actual) (printf "ok: ~A~%" what))
        (else (set! failed (+ failed 1))
              (printf "FAILED: ~A: expected ~S, got ~S~%" what expected actual))))

(define (serve con request)
  (case (car request)
    ((ask-back) (list 'you-said (request! con (list 'what (cadr request)))))
    ((fail) (error "it failed" (cadr request)))
    (else (list 'got request))))

(define (try what user->key user key)
  (let* ((server (start-server "127.0.0.1:0" 5 user->key #f serve #f))
         (con (open-connection! (server-addr server) user key (lambda (con request) (list 'answer request)) #f)))
    (check (list what 'request) '(got (ping "two" #(3 4.5) sym)) (request! con '(ping "two" #(3 4.5) sym)))
    (check (list what 'callback) '(you-said (answer (what 7))) (request! con '(ask-back 7)))
    (check (list what 'user) user (connection-user con))
    (check (list what 'error) #t
           (handle-exceptions e (and (remote-error? e) (string? (remote-error-message e)))
             (request! con '(fail "x"))
             #f))
    (close-connection! con)
    (stop-server! server)
    (wait-until-server-stopped server)))

(try 'insecure #f #f #f)
(try 'secure (lambda (user) (and (equal? user "me") (passphrase->key "p"))) "me" (passphrase->key "p"))

(check 'wrong-key #t
       (let* ((server (start-server "127.0.0.1:0" 5 (lambda (user) (passphrase->key "p")) #f serve #f))
              (con (open-connection! (server-addr server) "me" (passphrase->key "q") #f #f))
              (refused (handle-exceptions e (not (remote-error? e)) (request! con '(ping)) #f)))
         (stop-server! server)
         refused))

(exit (if (zero? failed) 0 1))
