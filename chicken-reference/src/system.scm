;;;; What bokbok asks of the operating system beside sockets: random bytes, name look-ups, a log line, plain bytes.
;;;
;;; Nothing here waits: a name is looked up by a thread of the C library, and a log that nobody reads is not
;;; written to, so that neither holds up the program's green threads.

(module bokbok-system
  (random-bytes random-source
   byte-ref byte-set! bytes-copy! bytes-index bytes=? u32->bytes bytes->u32 u64-set!
   numeric-host? start-resolver resolver-read close-fd fd-is-stuck?
   close-on-exec! set-v6-only! socket-file-identity connect-refused? connect-unix remove-file-if-same
   bokbok-log log-line ignore-sigpipe!)
  (import scheme bokbok-compat)

  (foreign-declare #<<C
#include <sys/types.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <netdb.h>
#include <netinet/in.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fills `buf` from the system's random source; 0 if that cannot be done. */
static int bokbok_random(unsigned char *buf, int n)
{
  int fd, got = 0;
#ifdef SYS_getrandom
  while (got < n) {                        /* needs no descriptor: a server may have none left */
    long r = syscall(SYS_getrandom, buf + got, n - got, 0);
    if (r > 0) got += r;
    else if (r == 0 || errno != EINTR) break;
  }
  if (got == n) return 1;
#endif
  fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  while (got < n) {
    ssize_t r = read(fd, buf + got, n - got);
    if (r > 0) got += r;
    else if (r < 0 && errno == EINTR) continue;
    else break;
  }
  close(fd);
  return got == n;
}

struct bokbok_query { int out; char host[]; };

/* Writes one numeric address a line, or "!why", into a pipe, and ends. */
static void *bokbok_lookup(void *arg)
{
  struct bokbok_query *q = arg;
  struct addrinfo hints, *list = NULL, *a;
  char text[4096], name[256];
  size_t used = 0, n;
  int rc;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  rc = getaddrinfo(q->host, NULL, &hints, &list);
  if (rc != 0)
    used = snprintf(text, sizeof text, "!%s\n", gai_strerror(rc));
  else
    for (a = list; a != NULL; a = a->ai_next)
      if (getnameinfo(a->ai_addr, a->ai_addrlen, name, sizeof name, NULL, 0, NI_NUMERICHOST) == 0
          && (n = strlen(name)) + 1 < sizeof text - used) {
        memcpy(text + used, name, n);
        text[used + n] = '\n';
        used += n + 1;
      }
  if (list != NULL) freeaddrinfo(list);
  n = 0;
  while (n < used) {                       /* the pipe is new and wide enough: this does not wait */
    ssize_t w = write(q->out, text + n, used - n);
    if (w <= 0 && errno != EINTR) break;
    if (w > 0) n += w;
  }
  close(q->out);
  free(q);
  return NULL;
}

/* Starts the look-up; the descriptor to read its answer from, or minus an error's number. */
static int bokbok_start_lookup(char *host)
{
  int ends[2], rc;
  pthread_t thread;
  pthread_attr_t attr;
  sigset_t all, old;
  struct bokbok_query *q = malloc(sizeof *q + strlen(host) + 1);
  if (q == NULL) return -ENOMEM;
  if (pipe(ends) != 0) { free(q); return -errno; }
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  q->out = ends[1];
  strcpy(q->host, host);
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  sigfillset(&all);                        /* signals are for CHICKEN's own thread */
  pthread_sigmask(SIG_SETMASK, &all, &old);
  rc = pthread_create(&thread, &attr, bokbok_lookup, q);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attr);
  if (rc != 0) { close(ends[0]); close(ends[1]); free(q); return -rc; }
  return ends[0];
}

static int bokbok_numeric_host(char *host)
{
  struct addrinfo hints, *list = NULL;
  memset(&hints, 0, sizeof hints);
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  if (getaddrinfo(host, NULL, &hints, &list) != 0) return 0;
  freeaddrinfo(list);
  return 1;
}

static int bokbok_stuck(int fd)
{
  struct pollfd p = { fd, POLLOUT, 0 };
  return poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT);
}

/* 0, or an error's number. */
static int bokbok_connect_unix(int fd, char *path)
{
  struct sockaddr_un a;
  memset(&a, 0, sizeof a);
  a.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof a.sun_path) return ENAMETOOLONG;
  strcpy(a.sun_path, path);
  return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? 0 : errno;
}

static int bokbok_connect_refused(char *path)
{
  int fd = socket(AF_UNIX, SOCK_STREAM, 0), refused;
  if (fd < 0) return 0;
  fcntl(fd, F_SETFL, O_NONBLOCK);          /* a full backlog is somebody listening, too */
  refused = bokbok_connect_unix(fd, path) == ECONNREFUSED;
  close(fd);
  return refused;
}
C
  )

  (define strerror (foreign-lambda c-string "strerror" int))

  ;; Random bytes

  (define (system-random-bytes n)
    (let ((buf (make-string n)))
      (unless ((foreign-lambda bool "bokbok_random" scheme-pointer int) buf n)
        (error "bokbok: the system's random source cannot be read"))
      buf))

  ;; Where session keys and nonces come from: a procedure from a length to a string of that many bytes. Only
  ;; bokbok's own tests change it, to play a recorded session again; module `bokbok` does not export it.
  (define random-source (make-parameter system-random-bytes))

  (define (random-bytes n)
    (let ((bytes ((random-source) n)))
      (unless (= n (string-length bytes)) (error "bokbok: the random source gave the wrong number of bytes"))
      bytes))

  ;; Strings as bytes

  (define-syntax byte-ref
    (syntax-rules () ((_ s i) (char->integer (string-ref s i)))))

  (define (byte-set! s i n) (string-set! s i (integer->char n)))

  (define bytes-copy!                   ; to, at, from, start, count
    (foreign-lambda* void ((scheme-pointer to) (int at) (scheme-pointer from) (int start) (int n))
      "memmove((char *)to + at, (char *)from + start, n);"))

  ;; Index of the first byte `b` of s from `start` below `end`, or #f.
  (define (bytes-index s b start end)
    (let ((i ((foreign-lambda* int ((scheme-pointer s) (int b) (int start) (int end))
                "char *p = memchr((char *)s + start, b, end - start);"
                "C_return(p == NULL ? -1 : p - (char *)s);")
              s b start end)))
      (and (>= i 0) i)))

  ;; Whether two strings of one length are the same, in a time that does not depend on where they differ.
  (define (bytes=? a b)
    (and (= (string-length a) (string-length b))
         ((foreign-lambda* bool ((scheme-pointer a) (scheme-pointer b) (int n))
            "unsigned char d = 0; int i;"
            "for (i = 0; i < n; i++) d |= ((unsigned char *)a)[i] ^ ((unsigned char *)b)[i];"
            "C_return(d == 0);")
          a b (string-length a))))

  (define (u32->bytes n)
    (string (integer->char (fxand 255 (fxshr n 24))) (integer->char (fxand 255 (fxshr n 16)))
            (integer->char (fxand 255 (fxshr n 8))) (integer->char (fxand 255 n))))

  (define (bytes->u32 s i)
    (+ (* 16777216 (byte-ref s i))
       (fxior (fxshl (byte-ref s (+ i 1)) 16) (fxior (fxshl (byte-ref s (+ i 2)) 8) (byte-ref s (+ i 3))))))

  (define (u64-set! s at n)
    (let loop ((i 7) (n n))
      (when (>= i 0)
        (byte-set! s (+ at i) (fxand n 255))
        (loop (- i 1) (fxshr n 8)))))

  ;; Names

  (define (numeric-host? host) ((foreign-lambda bool "bokbok_numeric_host" nonnull-c-string) host))

  ;; A descriptor that becomes readable when the look-up of `host` has an answer, or an error's message.
  (define (start-resolver host)
    (let ((fd ((foreign-lambda int "bokbok_start_lookup" nonnull-c-string) host)))
      (if (>= fd 0) fd (strerror (- fd)))))

  ;; What the look-up said so far: a string, "" at its end, #f when there is nothing yet.
  (define (resolver-read fd)
    (let* ((buf (make-string 4096))
           (n ((foreign-lambda* int ((int fd) (scheme-pointer buf) (int n))
                 "ssize_t r = read(fd, buf, n);"
                 "C_return(r >= 0 ? r : (errno == EAGAIN || errno == EINTR) ? -1 : 0);")
               fd buf 4096)))
      (and (>= n 0) (substring buf 0 n))))

  (define (close-fd fd) ((foreign-lambda int "close" int) fd))

  ;; A program that this one starts must not keep a connection open.
  (define (close-on-exec! fd) ((foreign-lambda* void ((int fd)) "fcntl(fd, F_SETFD, FD_CLOEXEC);") fd))

  ;; Whether an IPv6 socket takes IPv6 connections alone. The socket egg has this only since 0.3.
  (define (set-v6-only! fd only?)
    ((foreign-lambda* void ((int fd) (bool only))
       "int v = only; setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v, sizeof v);")
     fd only?))

  ;; Files of Unix sockets

  ;; "DEVICE:INODE" of the socket at `path`, #f if there is none, `other` if something else is there.
  (define (socket-file-identity path)
    (let* ((buf (make-string 64))
           (n ((foreign-lambda* int ((nonnull-c-string path) (scheme-pointer buf) (int n))
                 "struct stat st;"
                 "if (lstat(path, &st) != 0) C_return(-1);"
                 "if (!S_ISSOCK(st.st_mode)) C_return(-2);"
                 "C_return(snprintf(buf, n, \"%llu:%llu\", (unsigned long long)st.st_dev,"
                 "  (unsigned long long)st.st_ino));")
               path buf 64)))
      (cond ((= n -1) #f) ((= n -2) 'other) (else (substring buf 0 n)))))

  ;; Whether the socket at `path` is one that nobody listens on: what a killed server leaves behind.
  (define (connect-refused? path) ((foreign-lambda bool "bokbok_connect_refused" nonnull-c-string) path))

  ;; Connects a socket that does not block: #t, or an error's message, or `full`: the server's backlog has no room, and
  ;; nothing will tell when it has.
  (define (connect-unix fd path)
    (let ((rc ((foreign-lambda int "bokbok_connect_unix" int nonnull-c-string) fd path)))
      (cond ((= rc 0) #t)
            ((or (= rc (foreign-value "EAGAIN" int)) (= rc (foreign-value "EINTR" int))) 'full)
            (else (strerror rc)))))

  (define (remove-file-if-same path identity)
    (when (equal? identity (socket-file-identity path))
      ((foreign-lambda int "unlink" nonnull-c-string) path)))

  ;; The log

  (define (fd-is-stuck? fd) ((foreign-lambda bool "bokbok_stuck" int) fd))

  (define (log-to-standard-error line)
    ;; One write(2) of less than PIPE_BUF bytes to a pipe that has room does not wait.
    (unless (fd-is-stuck? 2)
      (let ((text (string-append "bokbok: " line "\n")))
        ((foreign-lambda* void ((scheme-pointer s) (int n)) "ssize_t r = write(2, s, n); (void)r;")
         text (min 4000 (string-length text))))))

  ;; Called with one string, a line without its end, for what a program's author would want to see: a handler
  ;; that failed, a connection that was refused and why. #f: nothing is said.
  (define bokbok-log
    (make-parameter log-to-standard-error
      (lambda (x) (if (or (not x) (procedure? x)) x (error 'bokbok-log "neither a procedure nor #f" x)))))

  ;; Never fails: it is called by threads that have a connection to end.
  (define (log-line . parts)
    (let ((log (bokbok-log)) (line (apply string-append parts)))
      (when log
        (handle-exceptions e (log-to-standard-error (string-append line " (and the procedure of bokbok-log failed)"))
          (log line)))))

  ;; A write to a connection that the other end has closed must be an error of that write, not the program's end.
  (define (ignore-sigpipe!)
    ((foreign-lambda* void () "signal(SIGPIPE, SIG_IGN);"))))
