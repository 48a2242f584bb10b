// The demo application: answers every HTTP request with the name of the pod that did. One small static program, so that
// the image that travels inside kcube is a few kilobytes. Serves one connection after the other, and goes on SIGTERM.
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static void on_term(int signal) {
  (void)signal;
  stopping = 1;
}

static void answer(int client) {
  char request[4096], host[128] = "", body[512], response[1024];
  struct timeval patience = {5, 0};
  setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  size_t have = 0;
  while (have < sizeof request - 1) {
    ssize_t n = read(client, request + have, sizeof request - 1 - have);
    if (n <= 0) return;
    have += (size_t)n;
    request[have] = 0;
    if (strstr(request, "\r\n\r\n")) break;
  }
  gethostname(host, sizeof host - 1);
  const char* greeting = getenv("GREETING");
  int size = snprintf(body, sizeof body, "%s from %s\n", greeting ? greeting : "Hello", host);
  int total = snprintf(response, sizeof response,
                       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", size, body);
  for (int sent = 0; sent < total;) {
    ssize_t n = write(client, response + sent, (size_t)(total - sent));
    if (n <= 0) return;
    sent += (int)n;
  }
}

int main(int argc, char** argv) {
  int port = argc > 1 ? atoi(argv[1]) : 8080, one = 1;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_term;   // no SA_RESTART: accept() must come back
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons((unsigned short)port);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 128) != 0) {
    perror("listen");
    return 1;
  }
  printf("listening on port %d\n", port);
  fflush(stdout);
  while (!stopping) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) {
      if (errno == EINTR) continue;
      return 1;
    }
    answer(client);
    close(client);
  }
  return 0;
}
