// Processes beside a container's first one, attachments, and connections into a sandbox.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <thread>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "runtime/runtime_impl.h"

namespace kcube::runtime {
namespace {

constexpr size_t kMaxOutput = 16 << 20;
constexpr auto kForever = std::chrono::milliseconds(std::chrono::hours(24 * 365));

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Status::from_errno("make a pipe"));
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// The caller's and the process's ends.
struct Streams {
  Pipe in, out, err;
};

Result<Streams> make_streams(const StreamOptions& options) {
  Streams s;
  auto make = [](bool wanted, Pipe& pipe) -> Result<void> {
    if (!wanted) return {};
    auto made = make_pipe();
    if (!made) return fail(made.error());
    pipe = std::move(*made);
    return {};
  };
  if (auto r = make(options.stdin, s.in); !r) return fail(r.error());
  if (auto r = make(options.stdout || options.tty, s.out); !r) return fail(r.error());
  if (auto r = make(options.stderr && !options.tty, s.err); !r) return fail(r.error());
  return s;
}

// Reads what there is; false at the end of the stream.
bool drain(const Fd& fd, std::string& out) {
  char buffer[65536];
  ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (out.size() < kMaxOutput) out.append(buffer, std::min(static_cast<size_t>(n), kMaxOutput - out.size()));
  return n > 0;
}

void set_nonblocking(const Fd& fd) { ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK); }

}  // namespace

Result<RuntimeImpl::Started> RuntimeImpl::start_exec(const std::string& id, const std::vector<std::string>& argv,
                                                     const StreamOptions& options, const int (&streams)[3],
                                                     const protocol::Process* process) {
  if (argv.empty()) return fail(Status::bad_request("no command specified"));
  auto found = find_container(id);
  if (!found) return fail(found.error());
  {
    std::lock_guard lock(mutex_);
    if (found->container->state != ContainerState::running || !found->monitor)
      return fail(Status(409, "Conflict", "container " + id + " is not running"));
  }
  const ContainerRecord& record = found->container->record;
  protocol::StartExec request;
  request.id = "exec-" + to_hex(random_bytes(16));
  request.container_id = id;
  request.join_flags = record.exec_join_flags;
  request.ids = record.spec.ids;
  request.process = process != nullptr ? *process : record.spec.process;
  request.process.argv = argv;
  request.process.tty = options.tty;
  request.process.stdin = options.stdin;
  if (options.tty &&
      std::ranges::none_of(request.process.env, [](const std::string& e) { return e.starts_with("TERM="); }))
    request.process.env.push_back("TERM=xterm");
  std::vector<Fd> fds;
  auto entry = cgroups_.entry(record.cgroup, fds);
  if (!entry) return fail(entry.error());
  request.cgroup = *entry;
  std::vector<int> numbers;
  for (const auto& fd : fds) numbers.push_back(fd.get());
  int32_t* places[3] = {&request.in, &request.out, &request.err};
  for (int i = 0; i < 3; ++i) {
    if (streams[i] < 0) continue;
    *places[i] = static_cast<int32_t>(numbers.size());
    numbers.push_back(streams[i]);
  }
  auto execution = std::make_shared<Execution>();
  execution->sandbox_id = found->sandbox->record.id;
  execution->ended.reset(::eventfd(0, EFD_CLOEXEC));
  {
    std::lock_guard lock(mutex_);
    executions_[request.id] = execution;
  }
  auto reply = found->monitor->call<protocol::Started>(protocol::Type::start_exec, request, numbers);
  if (reply && reply->error.empty()) return Started{request.id, execution, *found};
  std::lock_guard lock(mutex_);
  executions_.erase(request.id);
  if (!reply) return fail(reply.error());
  // What a shell would say, for a program that is not there.
  if (reply->program_missing) return fail(Status(500, "ExecError", reply->error));
  return fail(Status::internal(reply->error).with_context("exec in container " + id));
}

Result<int> RuntimeImpl::wait_execution(const std::string& id, const std::shared_ptr<Execution>& execution,
                                        std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, timeout, [&] { return execution->done; }))
    return fail(Status::timeout("waiting for the command to end"));
  executions_.erase(id);
  if (execution->lost) return fail(Status::unavailable("the pod's monitor is gone"));
  return execution->code;
}

void RuntimeImpl::collect(const Started& started, const Fd& out, const Fd& err, SteadyTime deadline,
                          ExecOutput& result) {
  set_nonblocking(out);
  set_nonblocking(err);
  bool out_open = true, err_open = true;
  while (out_open || err_open) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return;
    pollfd p[3] = {{out_open ? out.get() : -1, POLLIN, 0},
                   {err_open ? err.get() : -1, POLLIN, 0},
                   {started.execution->ended.get(), POLLIN, 0}};
    if (::poll(p, 3, static_cast<int>(std::min<int64_t>(left, INT_MAX))) < 0 && errno != EINTR) return;
    bool flowed = false;
    if (p[0].revents != 0) out_open = flowed = drain(out, result.out);
    if (p[1].revents != 0) flowed |= err_open = drain(err, result.err);
    // It has ended and nothing is left to read: what still holds the streams open is a child it left behind.
    if (p[2].revents != 0 && !flowed && (p[0].revents | p[1].revents) == 0) return;
  }
}

Result<ExecOutput> RuntimeImpl::exec_sync(const std::string& id, const std::vector<std::string>& argv,
                                          std::chrono::milliseconds timeout) {
  auto streams = make_streams({});
  if (!streams) return fail(streams.error());
  auto started = start_exec(id, argv, {}, {-1, streams->out.write.get(), streams->err.write.get()});
  if (!started) return fail(started.error());
  streams->out.write.reset();
  streams->err.write.reset();
  ExecOutput result;
  auto deadline = std::chrono::steady_clock::now() + (timeout.count() > 0 ? timeout : kForever);
  collect(*started, streams->out.read, streams->err.read, deadline, result);
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  auto code = wait_execution(started->id, started->execution, std::max(left, std::chrono::milliseconds(0)));
  if (code) {
    result.exit_code = *code;
    return result;
  }
  if (code.error().code() != 504) return fail(code.error());
  (void)started->where.monitor->call<protocol::Reply>(protocol::Type::signal, protocol::Signal{started->id, SIGKILL});
  (void)wait_execution(started->id, started->execution, std::chrono::seconds(10));
  return fail(Status::timeout("command \"" + join(argv, " ") + "\" timed out after " + std::to_string(timeout.count()) +
                              " ms"));
}

Result<StreamSession> RuntimeImpl::exec(const std::string& id, const std::vector<std::string>& argv,
                                        const StreamOptions& options) {
  auto streams = make_streams(options);
  if (!streams) return fail(streams.error());
  auto started =
      start_exec(id, argv, options, {streams->in.read.get(), streams->out.write.get(), streams->err.write.get()});
  if (!started) return fail(started.error());
  return session_of(*started, std::move(streams->in.write), std::move(streams->out.read), std::move(streams->err.read));
}

StreamSession RuntimeImpl::session_of(const Started& started, Fd in, Fd out, Fd err) {
  StreamSession session;
  session.in = std::move(in);
  session.out = std::move(out);
  session.err = std::move(err);
  session.resize = [monitor = started.where.monitor, id = started.id](TerminalSize size) {
    (void)monitor->call<protocol::Reply>(protocol::Type::resize, protocol::Resize{id, size.width, size.height});
  };
  session.wait = [this, id = started.id, execution = started.execution] {
    return wait_execution(id, execution, kForever);
  };
  return session;
}

Result<StreamSession> RuntimeImpl::exec_process(const std::string& id, protocol::Process process) {
  StreamOptions options{.stdin = true, .tty = process.tty};
  if (options.tty) {
    auto streams = make_streams(options);
    if (!streams) return fail(streams.error());
    auto started =
        start_exec(id, process.argv, options, {streams->in.read.get(), streams->out.write.get(), -1}, &process);
    if (!started) return fail(started.error());
    return session_of(*started, std::move(streams->in.write), std::move(streams->out.read), Fd());
  }
  // Our own standard descriptors are the process's.
  auto started = start_exec(id, process.argv, options, {0, 1, 2}, &process);
  if (!started) return fail(started.error());
  return session_of(*started, Fd(), Fd(), Fd());
}

Result<StreamSession> RuntimeImpl::attach(const std::string& id, const StreamOptions& options) {
  auto found = find_container(id);
  if (!found) return fail(found.error());
  if (!found->monitor) return fail(Status(409, "Conflict", "container " + id + " is not running"));
  StreamOptions wanted = options;
  wanted.tty = found->container->record.spec.process.tty;
  if (wanted.stdin && !found->container->record.spec.process.stdin)
    return fail(
        Status::bad_request("container " + found->container->record.name + " has no stdin to attach to (stdin: true)"));
  auto streams = make_streams(wanted);
  if (!streams) return fail(streams.error());
  protocol::Attach request;
  request.container_id = id;
  std::vector<int> numbers;
  auto add = [&](const Fd& fd, int32_t& place) {
    if (!fd.valid()) return;
    place = static_cast<int32_t>(numbers.size());
    numbers.push_back(fd.get());
  };
  add(streams->in.read, request.in);
  add(streams->out.write, request.out);
  add(streams->err.write, request.err);
  auto reply = found->monitor->call<protocol::Reply>(protocol::Type::attach, request, numbers);
  if (!reply) return fail(reply.error());
  if (!reply->error.empty()) return fail(Status(409, "Conflict", "attach to container " + id + ": " + reply->error));
  StreamSession session;
  session.in = std::move(streams->in.write);
  session.out = std::move(streams->out.read);
  session.err = std::move(streams->err.read);
  session.resize = [monitor = found->monitor, id](TerminalSize size) {
    (void)monitor->call<protocol::Reply>(protocol::Type::resize, protocol::Resize{id, size.width, size.height});
  };
  // Who reads output knows the end by its end, or has gone away; who only writes waits for the container.
  bool reads = session.out.valid() || session.err.valid();
  session.wait = [this, reads, container = found->container]() -> Result<int> {
    if (!reads) wait_end(*container, kForever);
    return 0;
  };
  return session;
}

Result<Fd> RuntimeImpl::dial(const std::string& sandbox_id, uint16_t port) {
  auto sandbox = find_sandbox(sandbox_id);
  if (!sandbox) return fail(sandbox.error());
  pid_t pause = 0;
  bool own;
  {
    std::lock_guard lock(mutex_);
    if (!(*sandbox)->ready) return fail(Status::unavailable("sandbox " + sandbox_id + " is not ready"));
    pause = (*sandbox)->record.pause_pid;
    own = (*sandbox)->record.network == NamespaceMode::pod;
  }
  Fd v4, v6;
  Result<void> entered;
  // A socket belongs to the namespace it was made in; a thread of its own goes there and never comes back.
  std::thread([&] {
    if (own) {
      auto netns = file::open("/proc/" + std::to_string(pause) + "/ns/net", O_RDONLY);
      if (!netns || ::setns(netns->get(), CLONE_NEWNET) != 0) {
        entered = fail(Status::from_errno("enter the network of sandbox " + sandbox_id));
        return;
      }
    }
    v4.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    v6.reset(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }).join();
  if (!entered) return fail(entered.error());
  sockaddr_in to4{};
  to4.sin_family = AF_INET;
  to4.sin_port = htons(port);
  to4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (v4.valid() && ::connect(v4.get(), reinterpret_cast<sockaddr*>(&to4), sizeof to4) == 0) return v4;
  int error = errno;
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  to6.sin6_port = htons(port);
  to6.sin6_addr = in6addr_loopback;
  if (v6.valid() && ::connect(v6.get(), reinterpret_cast<sockaddr*>(&to6), sizeof to6) == 0) return v6;
  return fail(Status::from_errno("dial tcp4 127.0.0.1:" + std::to_string(port) + ": connect", error));
}

}  // namespace kcube::runtime
