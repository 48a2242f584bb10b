// Network namespaces and sockets for tests: every node and pod is an unnamed namespace that goes away with its
// descriptor.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/network.h"

namespace kcube::net::lab {

// A namespace of its own with loopback up.
Fd make_namespace();
// Runs `action` on a thread inside `netns`.
void in(const Fd& netns, const std::function<void()>& action);
// A veth from `a` to `b`, both ends with addresses of one /24.
void connect(const Fd& a, const std::string& name_a, const std::string& ip_a, const Fd& b, const std::string& name_b,
             const std::string& ip_b, int mtu = 1500);
void add_default_route(const Fd& netns, const std::string& device, const std::string& via);

// What a client sees: "<server's name> <client's address as the server saw it>", or "refused", "unreachable",
// "timeout".
std::string ask_tcp(const Fd& netns, const std::string& ip, uint16_t port, const std::string& from = {});
std::string ask_udp(const Fd& netns, const std::string& ip, uint16_t port, const std::string& from = {});
// The first word of an answer.
std::string who(const std::string& answer);

// A connection or flow that stays open.
class Client {
 public:
  Client(const Fd& netns, bool tcp, const std::string& ip, uint16_t port);
  // One question, one answer, as ask_tcp().
  std::string ask();

 private:
  Fd fd_;
  std::string failure_;
};

// Servers on one thread that answer each question with their name and the client's address.
class Servers {
 public:
  Servers();
  ~Servers();
  void serve(const Fd& netns, bool tcp, uint16_t port, const std::string& name, const std::string& ip = "0.0.0.0");

 private:
  struct Socket {
    Fd fd;
    std::string name;
    bool listening = false, udp = false;
  };
  void run();
  Fd wake_;
  std::mutex mutex_;
  std::map<int, Socket> sockets_;
  bool stopping_ = false;
  std::thread thread_;
};

// A directory that goes away.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  std::string path;
};

// A node with its network, and pods.
struct Pod {
  std::string id, ip;
  Fd netns;
};

class Node {
 public:
  explicit Node(const std::string& pod_cidr = "10.42.0.0/24", const std::string& node_ip = "127.0.0.1");
  // Opens or reopens the network.
  void open();
  void close() { network.reset(); }
  Pod& pod(const std::string& id, const std::vector<HostPort>& host_ports = {});

  ScratchDirectory state;
  NodeNetworkOptions options;
  Fd netns;
  std::unique_ptr<NodeNetwork> network;
  std::map<std::string, Pod> pods;
};

// A service of TCP (or UDP) with endpoints "ip:port"; an endpoint written with "local " first is on this node.
ServicePort service(const std::string& key, const std::string& ip, uint16_t port,
                    const std::vector<Endpoint>& endpoints, Protocol protocol = Protocol::tcp);

}  // namespace kcube::net::lab
