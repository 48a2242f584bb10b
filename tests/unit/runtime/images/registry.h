// Registries to pull from: Debian's docker-registry as a child on loopback, and one in this process that misbehaves.
#pragma once

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fixture.h"
#include "pkg/base/strings.h"
#include "pkg/http/client.h"
#include "pkg/http/server.h"
#include "runtime/images/digest.h"

namespace kcube::runtime::images {

inline uint16_t free_port() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

// The blobs and the manifest of one image, to be served or pushed.
struct Served {
  std::map<std::string, std::string> blobs;  // by digest, manifest included
  std::string manifest, manifest_digest;
  std::vector<std::string> layers;  // digests
};

inline Served served(const std::string& archive) {
  Served result;
  auto source = from_memory(archive);
  TarReader reader(*source);
  TarEntry entry;
  while (reader.next(entry).value()) {
    std::string bytes = reader.read_all(64 << 20).value();
    if (entry.path == "index.json") result.manifest_digest = bytes.substr(bytes.find("sha256:"), 71);
    if (entry.path.starts_with("blobs/sha256/")) result.blobs["sha256:" + entry.path.substr(13)] = bytes;
  }
  result.manifest = result.blobs.at(result.manifest_digest);
  size_t layers = result.manifest.find("\"layers\"");
  for (size_t at = result.manifest.find("sha256:", layers); at != std::string::npos;
       at = result.manifest.find("sha256:", at + 1))
    result.layers.push_back(result.manifest.substr(at, 71));
  return result;
}

class DockerRegistry {
 public:
  explicit DockerRegistry(const std::string& user = {}, const std::string& password = {}) : port_(free_port()) {
    if (!user.empty()) authorization_ = "Basic " + base64_encode(user + ":" + password);
    std::string config = "version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: " + dir_.path +
                         "/data}\nhttp: {addr: '127.0.0.1:" + std::to_string(port_) + "'}\n";
    if (!user.empty()) {
      std::string command = "htpasswd -Bbn '" + user + "' '" + password + "' > " + dir_.path + "/htpasswd";
      EXPECT_EQ(::system(command.c_str()), 0);
      config += "auth:\n  htpasswd: {realm: kcube-test, path: " + dir_.path + "/htpasswd}\n";
    }
    (void)file::write(dir_.path + "/config.yml", config);
    child_ = ::fork();
    if (child_ == 0) {
      std::string path = dir_.path + "/config.yml";
      Fd log(::open((dir_.path + "/log").c_str(), O_WRONLY | O_CREAT, 0644));
      ::dup2(log.get(), 1);
      ::dup2(log.get(), 2);
      ::execlp("docker-registry", "docker-registry", "serve", path.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 200 && !answers(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ~DockerRegistry() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  static bool installed() {
    return ::system("command -v docker-registry >/dev/null && command -v htpasswd >/dev/null") == 0;
  }

  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  bool answers() { return send("GET", "/v2/").has_value(); }

  void push(const std::string& repository, const std::string& tag, const Served& image) {
    for (const auto& [digest, bytes] : image.blobs) {
      auto begun = send("POST", "/v2/" + repository + "/blobs/uploads/");
      ASSERT_TRUE(begun);
      ASSERT_EQ(begun->status, 202) << begun->body;
      std::string location(begun->headers.get("Location"));
      if (location.starts_with("http")) location = location.substr(location.find('/', 8));
      location +=
          (location.find('?') == std::string::npos ? "?" : "&") + std::string("digest=") + percent_encode(digest);
      auto put = send("PUT", location, bytes, "application/octet-stream");
      ASSERT_TRUE(put);
      ASSERT_EQ(put->status, 201) << put->body;
    }
    auto put = send("PUT", "/v2/" + repository + "/manifests/" + tag, image.manifest,
                    "application/vnd.oci.image.manifest.v1+json");
    ASSERT_TRUE(put);
    ASSERT_EQ(put->status, 201) << put->body;
  }
  int put_manifest(const std::string& repository, const std::string& tag, const std::string& text,
                   const std::string& type) {
    auto put = send("PUT", "/v2/" + repository + "/manifests/" + tag, text, type);
    return put ? put->status : 0;
  }

 private:
  Result<http::ClientResponse> send(const std::string& method, const std::string& path, const std::string& body = {},
                                    const std::string& type = {}) {
    http::ClientRequest request{.method = method, .url = "http://" + host() + path, .body = body};
    if (!type.empty()) request.headers.set("Content-Type", type);
    if (!authorization_.empty()) request.headers.set("Authorization", authorization_);
    return client_->send(request);
  }

  TempDir dir_;
  uint16_t port_;
  pid_t child_;
  std::string authorization_;
  std::unique_ptr<http::Client> client_ = http::Client::create({});
};

// Answers from a table and remembers what it was asked.
class FakeRegistry {
 public:
  using Answer = std::function<void(http::Request&, std::unique_ptr<http::Responder>&)>;
  // `before` may answer first; a responder that it moves away or uses up (sets null) is not used again.
  explicit FakeRegistry(Served image, Answer before = {}, http::ServerOptions options = {}, bool tls = false)
      : image_(std::move(image)), before_(std::move(before)) {
    options.address = "127.0.0.1";
    options.tls = tls;
    server_ = http::Server::create(options, [this](http::Request& request, std::unique_ptr<http::Responder> responder) {
                handle(request, std::move(responder));
              }).value();
    server_->start();
  }
  std::string host() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  Served& image() { return image_; }
  std::vector<std::string> asked() {
    std::lock_guard lock(mutex_);
    return asked_;
  }
  bool was_asked(const std::string& part) {
    for (const std::string& line : asked())
      if (line.find(part) != std::string::npos) return true;
    return false;
  }

 private:
  void handle(http::Request& request, std::unique_ptr<http::Responder> responder) {
    {
      std::lock_guard lock(mutex_);
      asked_.push_back(request.method + " " + request.path + "?" + request.raw_query +
                       " range=" + std::string(request.headers.get("Range")) +
                       " auth=" + std::string(request.headers.get("Authorization")));
    }
    if (before_) before_(request, responder);
    if (!responder) return;
    std::string last = request.path.substr(request.path.rfind('/') + 1);
    http::Headers headers;
    if (request.path.find("/manifests/") != std::string::npos) {
      headers.set("Content-Type", "application/vnd.oci.image.manifest.v1+json");
      if (last == "v1" || last == image_.manifest_digest) return responder->respond(200, headers, image_.manifest);
    } else if (auto blob = image_.blobs.find(last); blob != image_.blobs.end()) {
      std::string_view range = request.headers.get("Range");
      if (range.empty()) return responder->respond(200, headers, blob->second);
      size_t from = parse_int<size_t>(range.substr(6, range.size() - 7)).value();
      headers.set("Content-Range", "bytes " + std::to_string(from) + "-" + std::to_string(blob->second.size() - 1) +
                                       "/" + std::to_string(blob->second.size()));
      return responder->respond(206, headers, blob->second.substr(from));
    }
    responder->respond(404, headers, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})");
  }

  Served image_;
  Answer before_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace kcube::runtime::images
