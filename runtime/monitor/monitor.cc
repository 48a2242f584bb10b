#include "runtime/monitor/monitor.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace kcube::monitor {

namespace protocol = runtime::protocol;
using protocol::Type;

Monitor::Monitor(std::string directory, Fd first) : directory_(std::move(directory)), first_(std::move(first)) {}

bool Monitor::open() {
  sigset_t set;
  ::sigfillset(&set);
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  own_pid_namespace_.reset(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The path may be longer than sun_path: bind beneath the directory's descriptor.
  Fd directory(::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = "/proc/self/fd/" + std::to_string(directory.get()) + "/monitor.sock";
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  mode_t mask = ::umask(0077);
  bool bound = ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::umask(mask);
  if (!bound || ::listen(listener_.get(), 8) != 0 || !signals_.valid() || !loop_.open()) return false;
  connections_.push_back(std::make_unique<Connection>(loop_, std::move(first_), *this, ++last_serial_));
  return loop_.add(listener_.get(), EPOLLIN, this) && loop_.add(signals_.get(), EPOLLIN, this);
}

void Monitor::on_ready(int fd, uint32_t) {
  if (fd == listener_.get()) accept_connection();
  if (fd == signals_.get()) reap();
}

void Monitor::accept_connection() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!socket.valid() || ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      peer.uid != ::geteuid())
    return;
  connections_.push_back(std::make_unique<Connection>(loop_, std::move(socket), *this, ++last_serial_));
}

void Monitor::on_closed(Connection& connection) {
  std::erase_if(connections_, [&](const auto& c) { return c.get() == &connection; });
  // A kcube that died before pause was there has left nothing to guard.
  if (connections_.empty() && tasks_.empty()) loop_.stop();
}

void Monitor::reap() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) > 0) {
  }
  int status;
  pid_t pid;
  while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
    for (auto& task : tasks_) {
      if (task->pid != pid || !task->pidfd.valid()) continue;
      task->ended(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                  WIFSIGNALED(status) ? WTERMSIG(status) : 0);
      if (task->state == Task::State::exited) tell(*task);
      break;
    }
  }
  sweep();
  if (stopping_) finish_shutdown();
}

void Monitor::tell(const Task& task) {
  std::string payload = protocol::encode(task.exit);
  for (auto& connection : connections_)
    if (connection->subscribed) connection->send(Type::exited, 0, payload);
}

// Exited containers stay until they are forgotten: a kcube that comes later asks for them.
void Monitor::sweep() {
  std::erase_if(tasks_, [](const auto& task) {
    return task->finished() && (task->kind == Task::Kind::exec || task->state == Task::State::failed);
  });
}

Task* Monitor::find(const std::string& id) {
  for (auto& task : tasks_)
    if (task->id == id) return task.get();
  return nullptr;
}

void Monitor::on_started(Task& task, const protocol::Started& started) {
  for (auto& connection : connections_)
    if (connection->serial == task.request_connection)
      connection->send(Type::reply, task.request_id, protocol::encode(started));
}

void Monitor::refuse(Connection& connection, uint32_t id, const std::string& why) {
  protocol::Started started;
  started.error = why;
  connection.send(Type::reply, id, protocol::encode(started));
}

void Monitor::on_request(Connection& connection, Type type, uint32_t id, const std::string& payload,
                         std::vector<Fd> fds) {
  std::string error;
  protocol::Resize resize;
  protocol::Target target;
  switch (type) {
    case Type::hello: return hello(connection, id);
    case Type::start_pause: return start_pause(connection, id, payload, std::move(fds));
    case Type::start_container: return start_container(connection, id, payload, std::move(fds));
    case Type::start_exec: return start_exec(connection, id, payload, std::move(fds));
    case Type::shutdown: return shutdown();
    case Type::attach: error = attach(payload, fds); break;
    case Type::signal: error = signal(payload); break;
    case Type::resize:
      if (protocol::decode(payload, resize))
        if (Task* task = find(resize.id)) task->resize(resize.width, resize.height);
      break;
    case Type::forget:
      if (protocol::decode(payload, target))
        std::erase_if(tasks_, [&](const auto& t) { return t->id == target.id && t->state == Task::State::exited; });
      break;
    default: error = "unknown request " + std::to_string(static_cast<int>(type));
  }
  connection.send(Type::reply, id, protocol::encode(protocol::Reply{error}));
  sweep();
}

void Monitor::hello(Connection& connection, uint32_t id) {
  connection.subscribed = true;
  protocol::HelloReply reply;
  reply.monitor_pid = ::getpid();
  for (const auto& task : tasks_) {
    bool running = task->state == Task::State::running;
    if (task->kind == Task::Kind::pause && running) reply.pause_pid = task->pid;
    if (task->kind != Task::Kind::container || (!running && task->state != Task::State::exited)) continue;
    protocol::ContainerEntry entry;
    entry.id = task->id;
    entry.pid = task->pid;
    entry.running = running;
    entry.started_at_ns = task->started_at_ns;
    entry.exit = task->exit;
    reply.containers.push_back(std::move(entry));
  }
  connection.send(Type::reply, id, protocol::encode(reply));
}

void Monitor::take_cgroup_files(Task& task, const protocol::CgroupEntry& cgroup, std::vector<Fd>& fds) {
  auto take = [&](int32_t index) {
    return index >= 0 && static_cast<size_t>(index) < fds.size()
               ? Fd(::fcntl(fds[static_cast<size_t>(index)].get(), F_DUPFD_CLOEXEC, 3))
               : Fd();
  };
  task.kill_file = take(cgroup.kill);
  task.oom_file = take(cgroup.oom);
}

void Monitor::launch(std::unique_ptr<Task> task, uint64_t flags, int cgroup, int pid_namespace,
                     const protocol::IdRange& ids, const std::function<void(const Channel&)>& body) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    protocol::Started started;
    started.error = std::string("socketpair: ") + ::strerror(errno);
    return on_started(*task, started);
  }
  Fd ours(ends[0]), theirs(ends[1]);
  // Children are born into the namespace; the monitor itself never is.
  if (pid_namespace >= 0) ::setns(pid_namespace, CLONE_NEWPID);
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = flags | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0);
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = cgroup >= 0 ? static_cast<uint64_t>(cgroup) : 0;
  auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid == 0) {
    body(Channel{theirs.get()});
    ::_exit(1);
  }
  int error = errno;
  if (pid_namespace >= 0) ::setns(own_pid_namespace_.get(), CLONE_NEWPID);
  if (pid < 0) {
    protocol::Started started;
    started.error = std::string("clone a process: ") + ::strerror(error);
    return on_started(*task, started);
  }
  std::string failure;
  if (flags & CLONE_NEWUSER) {
    failure = write_id_maps(pid, ids);
    if (failure.empty()) ::send(ours.get(), "g", 1, MSG_NOSIGNAL);
  }
  task->began(pid, Fd(pidfd), std::move(ours));
  if (!failure.empty()) task->fail_preparation(std::move(failure));
  tasks_.push_back(std::move(task));
}

void Monitor::start_pause(Connection& connection, uint32_t id, const std::string& payload, std::vector<Fd> fds) {
  protocol::StartPause spec;
  if (!protocol::decode(payload, spec)) return refuse(connection, id, "malformed request");
  auto task = std::make_unique<Task>(loop_, *this, Task::Kind::pause, "");
  task->request_connection = connection.serial;
  task->request_id = id;
  // Pause is of use as soon as its namespaces are, unless others are about to see it as their process 1.
  task->early_ready = (spec.clone_flags & CLONE_NEWPID) == 0;
  Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ChildContext context{{}, fds};
  context.in = null.get();
  launch(std::move(task), spec.clone_flags | CLONE_NEWNS, context.fd(spec.cgroup.directory), -1, spec.ids,
         [&](const Channel& channel) {
           context.channel = channel;
           run_pause(spec, context, directory_);
         });
}

// One of our own standard descriptors, for a container; ours is /dev/null from now on, so that its reader sees the end.
Fd Monitor::own_stdio(int number) {
  Fd out(::fcntl(number, F_DUPFD_CLOEXEC, 3)), null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ::dup2(null.get(), number);
  return out;
}

void Monitor::start_container(Connection& connection, uint32_t id, const std::string& payload, std::vector<Fd> fds) {
  protocol::StartContainer spec;
  Task* pause = find("");
  if (!protocol::decode(payload, spec)) return refuse(connection, id, "malformed request");
  if (pause == nullptr || !pause->pidfd.valid() || stopping_)
    return refuse(connection, id, "the sandbox is not running");
  if (find(spec.id) != nullptr) return refuse(connection, id, "container " + spec.id + " was started before");
  auto log = std::make_shared<LogWriter>(spec.log_path, spec.log_max_bytes, spec.log_max_files);
  if (!log->ok()) return refuse(connection, id, "open the log " + spec.log_path + ": " + ::strerror(errno));

  auto task = std::make_unique<Task>(loop_, *this, Task::Kind::container, spec.id);
  task->request_connection = connection.serial;
  task->request_id = id;
  task->state_dir = spec.state_dir;
  take_cgroup_files(*task, spec.cgroup, fds);
  if (spec.process.tty)
    task->prepare_console(std::move(log), spec.process.stdin, spec.stdin_once);
  else if (spec.monitors_stdio)
    task->give(own_stdio(0), own_stdio(1), own_stdio(2));
  else if (!task->prepare_pipes(spec.process.stdin, std::move(log), spec.stdin_once))
    return refuse(connection, id, std::string("make pipes: ") + ::strerror(errno));

  int pid_namespace = spec.join_flags & CLONE_NEWPID ? pause->pidfd.get() : -1;
  if (!spec.join_pid_of.empty()) {
    Task* target = find(spec.join_pid_of);
    if (target == nullptr || !target->pidfd.valid())
      return refuse(connection, id, "target container " + spec.join_pid_of + " is not running");
    pid_namespace = target->pidfd.get();
  }
  ChildContext context{{}, fds};
  context.pause = pause->pidfd.get();
  context.in = task->child_in();
  context.out = task->child_out();
  context.err = task->child_err();
  uint64_t flags = spec.clone_flags;
  Fd user_namespace;
  if (spec.ids.count > 0) {
    // The namespaces are made from within the user namespace, by the process that this one becomes.
    user_namespace.reset(
        ::open(("/proc/" + std::to_string(pause->pid) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    context.user_namespace = user_namespace.get();
    context.pid_namespace = std::exchange(pid_namespace, -1);
    flags = 0;
  }
  launch(std::move(task), flags, context.fd(spec.cgroup.directory), pid_namespace, {},
         [&](const Channel& channel) {
           context.channel = channel;
           run_container(spec, context);
         });
}

void Monitor::start_exec(Connection& connection, uint32_t id, const std::string& payload, std::vector<Fd> fds) {
  protocol::StartExec spec;
  if (!protocol::decode(payload, spec)) return refuse(connection, id, "malformed request");
  Task* container = find(spec.container_id);
  if (container == nullptr || container->state != Task::State::running)
    return refuse(connection, id, "the container is not running");
  auto task = std::make_unique<Task>(loop_, *this, Task::Kind::exec, spec.id);
  task->request_connection = connection.serial;
  task->request_id = id;
  auto take = [&](int32_t index) {
    return index >= 0 && static_cast<size_t>(index) < fds.size() ? std::move(fds[static_cast<size_t>(index)]) : Fd();
  };
  if (spec.process.tty) task->prepare_console(nullptr, spec.process.stdin, false);
  task->give(take(spec.in), take(spec.out), take(spec.err));
  ChildContext context{{}, fds};
  context.container = container->pidfd.get();
  context.in = task->child_in();
  context.out = task->child_out();
  context.err = task->child_err();
  int pid_namespace = spec.join_flags & CLONE_NEWPID ? context.container : -1;
  launch(std::move(task), 0, context.fd(spec.cgroup.directory), pid_namespace, {}, [&](const Channel& channel) {
    context.channel = channel;
    run_exec(spec, context);
  });
}

std::string Monitor::attach(const std::string& payload, std::vector<Fd>& fds) {
  protocol::Attach spec;
  if (!protocol::decode(payload, spec)) return "malformed request";
  Task* task = find(spec.container_id);
  if (task == nullptr) return "the container is not running";
  auto take = [&](int32_t index) {
    return index >= 0 && static_cast<size_t>(index) < fds.size() ? std::move(fds[static_cast<size_t>(index)]) : Fd();
  };
  return task->attach(take(spec.in), take(spec.out), take(spec.err));
}

std::string Monitor::signal(const std::string& payload) {
  protocol::Signal spec;
  if (!protocol::decode(payload, spec)) return "malformed request";
  if (Task* task = find(spec.id)) task->signal(spec.signal);
  return "";
}

void Monitor::shutdown() {
  stopping_ = true;
  for (auto& task : tasks_) task->signal(SIGKILL);
  finish_shutdown();
}

void Monitor::finish_shutdown() {
  for (const auto& task : tasks_)
    if (task->pidfd.valid()) return;
  loop_.stop();
}

}  // namespace kcube::monitor
