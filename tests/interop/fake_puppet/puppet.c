/* A puppet for an image with nothing else in it: linked statically, it needs no base image.

   It answers `hello`, listens and connects without ever saying a word over a socket, and does with the passphrase of
   `key` whatever a test asks for. */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char line[1 << 20];

static int at_tcp(const char *host, int port, int listening) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        /* Static programs cannot ask the resolver, so names are looked up in /etc/hosts by hand. */
        FILE *hosts = fopen("/etc/hosts", "r");
        char address[64], name[256];
        int found = 0;
        while (hosts && fscanf(hosts, "%63s %255s", address, name) == 2)
            if (!strcmp(name, host) && inet_pton(AF_INET, address, &a.sin_addr) == 1) found = 1;
        if (!found) return errno = ENOENT, -1;
    }
    if (listening) {
        if (bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 10)) return -1;
        return s;
    }
    return connect(s, (struct sockaddr *)&a, sizeof a) ? -1 : s;
}

static int at_unix(const char *path, int listening) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    if (listening) {
        if (bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 10)) return -1;
        return s;
    }
    return connect(s, (struct sockaddr *)&a, sizeof a) ? -1 : s;
}

static void show(int number, const char *path, const char *key) {
    char text[4096], *found, *end;
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[size] = 0;
    found = strstr(text, key);
    if (found && (end = strchr(found, '\n'))) *end = 0;
    for (end = found; end && *end; end++)
        if (*end == '\t') *end = ' ';
    printf("(%d ok \"%s\")\n", number, found ? found : "not found");
}

static void act(int number, const char *what) {
    int n;
    if (!strcmp(what, "exit")) exit(3);
    if (!strcmp(what, "crash")) raise(SIGSEGV);
    if (!strcmp(what, "deaf")) {
        printf("(%d ok)\n", number);
        fflush(stdout);
        for (;;) pause();
    }
    if (!strcmp(what, "memory"))
        for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    if (!strcmp(what, "pieces")) {
        char whole[64];
        sprintf(whole, "(%d ok \"in pieces\")\n", number);
        for (char *c = whole; *c; c++) {
            putchar(*c);
            fflush(stdout);
            fputc('.', stderr); /* between any two bytes of the answer */
        }
        return;
    }
    if (sscanf(what, "big %d", &n) == 1) {
        printf("(%d ok \"", number);
        while (n--) putchar('x');
        printf("\")\n");
        return;
    }
    if (sscanf(what, "log %d", &n) == 1)
        while (n--) fputs("a line of the log\n", stderr);
    if (!strncmp(what, "status ", 7)) {
        show(number, "/proc/self/status", what + 7);
        return;
    }
    printf("(%d ok \"%s\")\n", number, what);
}

int main(int count, char **words) {
    char verb[32], host[256];
    int number, handle, port, s;
    if (count > 1 && !strcmp(words[1], "dies")) {
        fputs("no such library\n", stderr);
        return 7;
    }
    if (count > 1 && !strcmp(words[1], "hangs"))
        for (;;) pause();
    signal(SIGPIPE, SIG_IGN);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "(%d %31[a-z-]", &number, verb) != 2) continue;
        if (!strcmp(verb, "hello"))
            printf("(%d ok \"fake\" \"%s\" (puppet-1 tcp unix secure insecure port-0 reference))\n", number,
                   count > 1 ? words[1] : "0");
        else if (!strcmp(verb, "key") && sscanf(line, "(%d key \"%255[^\"]\"", &number, host) == 2)
            act(number, host);
        else if (sscanf(line, "(%d listen %d (tcp \"%255[^\"]\" %d)", &number, &handle, host, &port) == 4)
            if (at_tcp(host, port, 1) < 0) printf("(%d network-error \"%s\")\n", number, strerror(errno));
            else printf("(%d ok (tcp \"%s\" %d))\n", number, host, port);
        else if (sscanf(line, "(%d listen %d (unix \"%255[^\"]\"", &number, &handle, host) == 3)
            if (at_unix(host, 1) < 0) printf("(%d network-error \"%s\")\n", number, strerror(errno));
            else printf("(%d ok (unix \"%s\"))\n", number, host);
        else if (sscanf(line, "(%d connect %d (tcp \"%255[^\"]\" %d)", &number, &handle, host, &port) == 4 ||
                 sscanf(line, "(%d connect %d (unix \"%255[^\"]\"", &number, &handle, host) == 3) {
            s = strstr(line, "(tcp ") ? at_tcp(host, port, 0) : at_unix(host, 0);
            if (s < 0) printf("(%d network-error \"%s\")\n", number, strerror(errno));
            else {
                if (write(s, "hello", 5) != 5) return 1;
                printf("(%d ok)\n", number);
            }
        } else
            printf("(%d ok)\n", number);
        fflush(stdout);
    }
    return 0;
}
