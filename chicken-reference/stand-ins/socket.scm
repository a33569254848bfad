;;;; The part of the socket egg that bokbok uses, on POSIX calls, for a CHICKEN without that egg.
;;;
;;; Names and shapes are the egg's, so that the same code runs on either. Every socket is non-blocking; a call
;;; that has to wait blocks the calling green thread alone. Errors are conditions of kind (exn i/o net).

(module bokbok-socket
  (af/inet af/inet6 af/unix sock/stream shut/rd shut/wr shut/rdwr
   socket socket-fileno socket-family socket-bind socket-listen socket-accept socket-connect
   socket-connect-timeout socket-accept-timeout socket-receive-timeout socket-send-timeout
   socket-receive! socket-send socket-shutdown socket-close*
   socket-name socket-peer-name sockaddr-address sockaddr-port sockaddr-family inet-address unix-address
   so-reuse-address? so-keep-alive? tcp-no-delay?)
  (import scheme bokbok-compat bokbok-waiting)

  (foreign-declare #<<C
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netdb.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Results: >= 0, or minus the error's number. */
static int bokbok_checked(int rc) { return rc < 0 ? -errno : rc; }

static int bokbok_set_up(int fd)
{
  int flags;
  if (fd < 0) return -errno;
  flags = fcntl(fd, F_GETFL, 0);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    int e = errno;
    close(fd);
    return -e;
  }
  return fd;
}

static int bokbok_socket_error(int fd)
{
  int e = 0;
  socklen_t n = sizeof e;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0 ? errno : e;
}

/* Writes a sockaddr into `to` (128 bytes), its length is the result; 0 if `host` is not a numeric address. */
static int bokbok_inet_address(char *host, char *port, char *to)
{
  struct addrinfo hints, *list = NULL;
  int n = 0;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  if (getaddrinfo(host, port, &hints, &list) != 0) return 0;
  if (list->ai_addrlen <= 128) { n = list->ai_addrlen; memcpy(to, list->ai_addr, n); }
  freeaddrinfo(list);
  return n;
}
C
  )

  (define af/inet (foreign-value "AF_INET" int))
  (define af/inet6 (foreign-value "AF_INET6" int))
  (define af/unix (foreign-value "AF_UNIX" int))
  (define sock/stream (foreign-value "SOCK_STREAM" int))
  (define shut/rd (foreign-value "SHUT_RD" int))
  (define shut/wr (foreign-value "SHUT_WR" int))
  (define shut/rdwr (foreign-value "SHUT_RDWR" int))
  (define eagain (- (foreign-value "EAGAIN" int)))
  (define eintr (- (foreign-value "EINTR" int)))
  (define einprogress (- (foreign-value "EINPROGRESS" int)))
  (define strerror (foreign-lambda c-string "strerror" int))

  ;; Milliseconds, or #f for no limit.
  (define socket-connect-timeout (make-parameter #f))
  (define socket-accept-timeout (make-parameter #f))
  (define socket-receive-timeout (make-parameter 60000))
  (define socket-send-timeout (make-parameter 60000))

  (define-record-type bokbok-socket-object
    (make-socket-object fileno family) socket-object?
    (fileno socket-fileno) (family socket-family))

  (define-record-type bokbok-sockaddr
    (make-sockaddr bytes) sockaddr?
    (bytes sockaddr-bytes))

  (define (network-error where message . kinds)
    (abort (apply make-composite-condition
                  (make-property-condition 'exn 'location where 'message message 'arguments '())
                  (make-property-condition 'i/o)
                  (make-property-condition 'net)
                  (map make-property-condition kinds))))

  (define (checked where what rc)
    (when (< rc 0) (network-error where (string-append what " - " (strerror (- rc)))))
    rc)

  (define (wait where so direction timeout)
    (when (eq? 'timeout (wait-for-fd! (make-waiter) (socket-fileno so) direction
                                      (and timeout (+ (now-ms) timeout))))
      (network-error where "operation timed out" 'timeout)))

  ;; Repeats `call` until it does something else than having to wait.
  (define (until-done where what so direction timeout call)
    (let loop ()
      (let ((rc (call)))
        (cond ((= rc eagain) (wait where so direction timeout) (loop))
              ((= rc eintr) (loop))
              (else (checked where what rc))))))

  (define (socket family type)
    (let ((fd ((foreign-lambda* int ((int family) (int type))
                 "C_return(bokbok_set_up(socket(family, type, 0)));")
               family type)))
      (make-socket-object (checked 'socket "cannot create socket" fd) family)))

  (define (inet-address host port)
    (let* ((buf (make-string 128))
           (n ((foreign-lambda int "bokbok_inet_address" nonnull-c-string nonnull-c-string scheme-pointer)
               host (number->string port) buf)))
      (when (= n 0) (network-error 'inet-address (string-append "not a numeric address: " host)))
      (make-sockaddr (substring buf 0 n))))

  (define (unix-address path)
    (let* ((buf (make-string 128))
           (n ((foreign-lambda* int ((nonnull-c-string path) (scheme-pointer to))
                 "struct sockaddr_un a;"
                 "memset(&a, 0, sizeof a);"
                 "a.sun_family = AF_UNIX;"
                 "if (strlen(path) >= sizeof a.sun_path) C_return(0);"
                 "strcpy(a.sun_path, path);"
                 "memcpy(to, &a, sizeof a);"
                 "C_return(sizeof a);")
               path buf)))
      (when (= n 0) (network-error 'unix-address "the path is too long for a Unix socket"))
      (make-sockaddr (substring buf 0 n))))

  (define (sockaddr-family a)
    ((foreign-lambda* int ((scheme-pointer a)) "C_return(((struct sockaddr *)a)->sa_family);") (sockaddr-bytes a)))

  (define (sockaddr-address a)
    (let* ((buf (make-string 256))
           (n ((foreign-lambda* int ((scheme-pointer a) (int len) (scheme-pointer to) (int size))
                 "C_return(getnameinfo(a, len, to, size, NULL, 0, NI_NUMERICHOST) == 0 ? strlen(to) : 0);")
               (sockaddr-bytes a) (string-length (sockaddr-bytes a)) buf 256)))
      (substring buf 0 n)))

  (define (sockaddr-port a)
    ((foreign-lambda* int ((scheme-pointer a))
       "struct sockaddr *s = a;"
       "C_return(s->sa_family == AF_INET ? ntohs(((struct sockaddr_in *)s)->sin_port)"
       "  : s->sa_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)s)->sin6_port) : 0);")
     (sockaddr-bytes a)))

  (define (socket-bind so a)
    (checked 'socket-bind "cannot bind to socket"
             ((foreign-lambda* int ((int fd) (scheme-pointer a) (int n)) "C_return(bokbok_checked(bind(fd, a, n)));")
              (socket-fileno so) (sockaddr-bytes a) (string-length (sockaddr-bytes a)))))

  (define (socket-listen so backlog)
    (checked 'socket-listen "cannot listen on socket"
             ((foreign-lambda* int ((int fd) (int backlog)) "C_return(bokbok_checked(listen(fd, backlog)));")
              (socket-fileno so) backlog)))

  (define (socket-accept so)
    (make-socket-object
      (until-done 'socket-accept "could not accept from listener" so #:input (socket-accept-timeout)
        (lambda ()
          ((foreign-lambda* int ((int fd)) "C_return(bokbok_set_up(accept(fd, NULL, NULL)));") (socket-fileno so))))
      (socket-family so)))

  ;; Closes the socket if it cannot be connected, as the egg does.
  (define (socket-connect so a)
    (define (fail message . kinds)
      (socket-close* so)
      (apply network-error 'socket-connect message kinds))
    (let ((rc ((foreign-lambda* int ((int fd) (scheme-pointer a) (int n))
                 "C_return(bokbok_checked(connect(fd, a, n)));")
               (socket-fileno so) (sockaddr-bytes a) (string-length (sockaddr-bytes a)))))
      (cond ((or (= rc einprogress) (= rc eintr))
             (let* ((timeout (socket-connect-timeout))
                    (limit (and timeout (+ (now-ms) timeout)))
                    (waiter (make-waiter)))
               (when (eq? 'timeout (wait-for-fd! waiter (socket-fileno so) #:output limit))
                 (fail "operation timed out" 'timeout))
               (let ((e ((foreign-lambda int "bokbok_socket_error" int) (socket-fileno so))))
                 (unless (= e 0) (fail (strerror e) 'transient)))))
            ((< rc 0) (fail (strerror (- rc)) 'transient)))))

  (define (socket-receive! so buf #!optional (start 0) (end (string-length buf)))
    (until-done 'socket-receive! "cannot read from socket" so #:input (socket-receive-timeout)
      (lambda ()
        ((foreign-lambda* int ((int fd) (scheme-pointer buf) (int start) (int n))
           "C_return(bokbok_checked(recv(fd, (char *)buf + start, n, 0)));")
         (socket-fileno so) buf start (- end start)))))

  (define (socket-send so buf #!optional (start 0) (end (string-length buf)))
    (until-done 'socket-send "cannot send to socket" so #:output (socket-send-timeout)
      (lambda ()
        ((foreign-lambda* int ((int fd) (scheme-pointer buf) (int start) (int n))
           "C_return(bokbok_checked(send(fd, (char *)buf + start, n, MSG_NOSIGNAL)));")
         (socket-fileno so) buf start (- end start)))))

  ;; A socket whose other end is gone needs no shutting down: no error.
  (define (socket-shutdown so how)
    ((foreign-lambda int "shutdown" int int) (socket-fileno so) how))

  (define (socket-close* so)
    ((foreign-lambda int "close" int) (socket-fileno so)))

  (define (name-of where so call)
    (let ((buf (make-string 128)))
      (let ((n (call (socket-fileno so) buf)))
        (make-sockaddr (substring buf 0 (checked where "unable to get the socket's name" n))))))

  (define (socket-name so)
    (name-of 'socket-name so
      (foreign-lambda* int ((int fd) (scheme-pointer to))
        "socklen_t n = 128; C_return(getsockname(fd, to, &n) < 0 ? -errno : n > 128 ? 128 : (int)n);")))

  (define (socket-peer-name so)
    (name-of 'socket-peer-name so
      (foreign-lambda* int ((int fd) (scheme-pointer to))
        "socklen_t n = 128; C_return(getpeername(fd, to, &n) < 0 ? -errno : n > 128 ? 128 : (int)n);")))

  (define (flag-option level name)
    (getter-with-setter
      (lambda (so)
        ((foreign-lambda* bool ((int fd) (int level) (int name))
           "int v = 0; socklen_t n = sizeof v; getsockopt(fd, level, name, &v, &n); C_return(v);")
         (socket-fileno so) level name))
      (lambda (so on)
        (checked 'set-socket-option "cannot set a socket's option"
                 ((foreign-lambda* int ((int fd) (int level) (int name) (bool on))
                    "C_return(bokbok_checked(setsockopt(fd, level, name, &on, sizeof on)));")
                  (socket-fileno so) level name on)))))

  (define so-reuse-address? (flag-option (foreign-value "SOL_SOCKET" int) (foreign-value "SO_REUSEADDR" int)))
  (define so-keep-alive? (flag-option (foreign-value "SOL_SOCKET" int) (foreign-value "SO_KEEPALIVE" int)))
  (define tcp-no-delay? (flag-option (foreign-value "IPPROTO_TCP" int) (foreign-value "TCP_NODELAY" int))))
