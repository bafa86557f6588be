// One end of a connection of the TLS benchmark: its context as Culvert has it, dialling, reading and writing, with TLS
// or without; edge-triggered.
#pragma once

#include "../meter.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace {

constexpr size_t kRecordBytes = 16 * 1024;
constexpr uint8_t kH2[] = {2, 'h', '2'};

int SelectH2(SSL *, const uint8_t **chosen, uint8_t *length, const uint8_t *offered, unsigned offered_length, void *) {
  const int found =
      SSL_select_next_proto(const_cast<uint8_t **>(chosen), length, kH2, sizeof(kH2), offered, offered_length);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// What Culvert's contexts are (native/tls/tls_context.cc).
SSL_CTX *MakeContext(const std::string &dir, bool has_certificate) {
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256");
  SSL_CTX_set1_groups_list(context, "X25519:P-256");
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_TX_CERTIFICATE_COMPRESSION |
                                   SSL_OP_NO_RX_CERTIFICATE_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, 4 * (kRecordBytes + 64));
  if (SSL_CTX_load_verify_locations(context, (dir + "/root.pem").c_str(), nullptr) != 1) Die("root.pem");
  if (has_certificate && (SSL_CTX_use_certificate_chain_file(context, (dir + "/chain.pem").c_str()) != 1 ||
                          SSL_CTX_use_PrivateKey_file(context, (dir + "/key.pem").c_str(), SSL_FILETYPE_PEM) != 1))
    Die("chain.pem and key.pem");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_alpn_select_cb(context, SelectH2, nullptr);
  SSL_CTX_set_alpn_protos(context, kH2, sizeof(kH2));
  return context;
}

void Tune(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int Listen() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr *>(&address), length) != 0 || listen(fd, 1024) != 0) Die("listen");
  getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0) Die("connect");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  Tune(fd);
  return fd;
}

struct Peer {
  explicit Peer(int of) : fd(of) {}

  int fd;
  SSL *ssl = nullptr;
  std::vector<uint8_t> unsent; // of what is echoed
  size_t at = 0;
  int64_t asked_ns = 0;
  size_t received = 0;
  bool is_ready = false;
};

// >0: bytes; 0: would block; <0: over.
ssize_t ReadSome(Peer &peer, uint8_t *to, size_t capacity) {
  if (peer.ssl == nullptr) {
    const ssize_t got = recv(peer.fd, to, capacity, 0);
    return got > 0 ? got : got < 0 && errno == EAGAIN ? 0 : -1;
  }
  const int got = SSL_read(peer.ssl, to, int(capacity));
  if (got > 0) return got;
  const int error = SSL_get_error(peer.ssl, got);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

ssize_t WriteSome(Peer &peer, const uint8_t *from, size_t length) {
  if (peer.ssl == nullptr) {
    const ssize_t sent = send(peer.fd, from, length, MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EAGAIN ? 0 : -1;
  }
  const int sent = SSL_write(peer.ssl, from, int(length));
  if (sent > 0) return sent;
  const int error = SSL_get_error(peer.ssl, sent);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

void End(Peer *peer) {
  if (peer->ssl != nullptr) {
    SSL_shutdown(peer->ssl);
    SSL_free(peer->ssl);
    ERR_clear_error();
  }
  close(peer->fd);
  delete peer;
}

void Watch(int poll, int fd, void *tag, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = tag;
  epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
}

Peer *Dial(SSL_CTX *context, int port, int poll) {
  auto *peer = new Peer(Connect(port));
  peer->ssl = SSL_new(context);
  SSL_set_fd(peer->ssl, peer->fd);
  SSL_set_connect_state(peer->ssl);
  Watch(poll, peer->fd, peer, EPOLLIN | EPOLLOUT | EPOLLET);
  return peer;
}

// 1: done; 0: goes on; -1: failed.
int StepHandshake(Peer &peer) {
  if (peer.is_ready) return 1;
  const int result = SSL_do_handshake(peer.ssl);
  if (result == 1) {
    peer.is_ready = true;
    return 1;
  }
  const int error = SSL_get_error(peer.ssl, result);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

} // namespace
