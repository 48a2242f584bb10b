// Task: a process the monitor is the parent of (pause, a container's first process, an exec), from clone to the end.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "runtime/monitor/child.h"
#include "runtime/monitor/loop.h"
#include "runtime/monitor/streams.h"
#include "runtime/protocol.h"

namespace kcube::monitor {

class Task;

class TaskOwner {
 public:
  // The program runs, or could not be started (`started.error`). Once a task.
  virtual void on_started(Task& task, const runtime::protocol::Started& started) = 0;

 protected:
  ~TaskOwner() = default;
};

class Task final : public Watcher, public InputPump::Owner {
 public:
  enum class Kind { pause, container, exec };
  enum class State { starting, running, failed, exited };

  Task(Loop& loop, TaskOwner& owner, Kind kind, std::string id);
  ~Task();

  const Kind kind;
  const std::string id;
  State state = State::starting;
  pid_t pid = 0;
  Fd pidfd;
  int64_t started_at_ns = 0;
  runtime::protocol::Exited exit;
  std::string state_dir;            // containers: where the exit is recorded
  uint64_t request_connection = 0;  // who waits for the start
  uint32_t request_id = 0;
  Fd kill_file, oom_file;
  bool early_ready = false;  // of use as soon as it says ready, before its program runs

  // Stdio. prepare_* make the descriptors the child gets; the others are for the parent after the clone.
  bool prepare_pipes(bool want_stdin, std::shared_ptr<LogWriter> log, bool once);
  void prepare_console(std::shared_ptr<LogWriter> log, bool want_stdin, bool once);
  void give(Fd in, Fd out, Fd err);  // an exec's, handed in by kcube
  int child_in() const { return child_in_.get(); }
  int child_out() const { return child_out_.get(); }
  int child_err() const { return child_err_.get(); }
  // The clone has happened: the child's ends are closed, its channel is watched.
  void began(pid_t new_pid, Fd new_pidfd, Fd channel);

  // What the monitor has to do for it could not be done: it ends before its program runs.
  void fail_preparation(std::string why);

  std::string attach(Fd in, Fd out, Fd err);  // empty or why not
  void resize(uint16_t width, uint16_t height);
  void signal(int number);

  // waitid said so. Reads the last of its output first; records and fills `exit`.
  void ended(int code, int signal_number);
  // Nothing of it is left to do: an exited exec whose readers have everything.
  bool finished() const;

  void on_ready(int fd, uint32_t events) override;
  void on_input_end(InputPump* pump, bool source_ended) override;

 private:
  bool read_report();  // false at the end of the channel
  void channel_ended();
  void use_master(Fd master);
  void moved(const std::string& new_pid, Fd new_pidfd);
  void record_exit();
  bool oom_killed();

  Loop& loop_;
  TaskOwner& owner_;
  Fd channel_;
  bool ready_ = false, program_missing_ = false;
  std::string error_, warning_;
  std::shared_ptr<LogWriter> log_;
  bool console_ = false, want_stdin_ = false, stdin_once_ = false;
  Fd child_in_, child_out_, child_err_;  // the child's ends, until the clone
  Fd input_;                             // write end of stdin, or the console
  Fd master_;
  Fd early_in_, early_out_;  // an exec's console streams, until the console is there
  std::unique_ptr<OutputStream> out_, err_;
  std::vector<std::unique_ptr<InputPump>> pumps_;
};

int64_t now_ns();

}  // namespace kcube::monitor
