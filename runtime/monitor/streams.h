// Streams: what flows between a container's stdio, its log and whoever is attached.
//
// An attached reader that does not keep up holds the container's output back, as a full pipe would: nothing is lost
// and memory stays bounded by one chunk a reader.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pkg/base/fd.h"
#include "runtime/monitor/log_writer.h"
#include "runtime/monitor/loop.h"

namespace kcube::monitor {

class OutputStream;

// One attached reader.
class Sink final : public Watcher {
 public:
  Sink(Loop& loop, OutputStream& stream, Fd fd);
  ~Sink();
  void on_ready(int fd, uint32_t events) override;
  // Takes a copy of what the reader cannot take right now. False when the reader is gone.
  bool send(std::string_view bytes);
  bool blocked() const { return !pending_.empty(); }

 private:
  Loop& loop_;
  OutputStream& stream_;
  Fd fd_;
  std::string pending_;
};

// One output descriptor of a container (stdout, stderr or the console), to its log and its sinks.
class OutputStream final : public Watcher {
 public:
  OutputStream(Loop& loop, Fd source, std::shared_ptr<LogWriter> log, const char* name);
  ~OutputStream();
  void on_ready(int fd, uint32_t events) override;
  void add_sink(Fd fd);
  // The process has ended: takes what is still buffered, closes the source, lets the sinks run dry and close.
  void finish();
  bool done() const { return !source_.valid() && sinks_.empty(); }
  void sink_changed(Sink* sink, bool gone);

 private:
  bool read_once();  // false at the end, on EAGAIN and when a sink is blocked
  void take(std::string_view bytes);
  void log_rest();
  void drop_dry_sinks();

  Loop& loop_;
  Fd source_;
  std::shared_ptr<LogWriter> log_;
  const char* name_;
  bool watching_ = false, finishing_ = false;
  std::string line_;
  std::vector<std::unique_ptr<Sink>> sinks_;
};

// Copies from an attached writer to a container's input, one chunk at a time.
class InputPump final : public Watcher {
 public:
  // `target` is the pump's own duplicate. `owner` is told once when either side has ended, and destroys the pump.
  class Owner {
   public:
    virtual void on_input_end(InputPump* pump, bool source_ended) = 0;

   protected:
    ~Owner() = default;
  };
  InputPump(Loop& loop, Fd source, Fd target, Owner& owner);
  ~InputPump();
  void on_ready(int fd, uint32_t events) override;

 private:
  Loop& loop_;
  Fd source_, target_;
  Owner& owner_;
  bool watching_ = false;
  std::string pending_;
};

}  // namespace kcube::monitor
