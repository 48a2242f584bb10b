// Consoles: pseudo terminals of the container's own devpts instance. Source: pts(4), ioctl_tty(2) TIOCGPTPEER.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/monitor/child.h"

namespace kcube::monitor {
namespace {

constexpr long kDevptsMagic = 0x1cd1;

// What stands at /dev/pts/ptmx must be the kernel's multiplexer: the container may have put something else there.
int open_multiplexer(const Channel& channel) {
  int fd = ::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) channel.fail("open /dev/pts/ptmx", errno);
  struct stat info;
  struct statfs system;
  if (::fstat(fd, &info) != 0 || ::fstatfs(fd, &system) != 0 || !S_ISCHR(info.st_mode) ||
      info.st_rdev != makedev(5, 2) || static_cast<long>(system.f_type) != kDevptsMagic)
    channel.fail("/dev/pts/ptmx is not a pseudo terminal multiplexer", 0);
  return fd;
}

void mount_as_console(const Channel& channel, int slave) {
  int made = ::open("/dev/console", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made >= 0) ::close(made);
  std::string path = "/proc/self/fd/" + std::to_string(slave);
  if (::mount(path.c_str(), "/dev/console", nullptr, MS_BIND, nullptr) != 0) channel.fail("mount /dev/console", errno);
}

}  // namespace

void open_console(const runtime::protocol::Process& process, const Channel& channel, bool as_device) {
  int master = open_multiplexer(channel);
  int unlock = 0;
  if (::ioctl(master, TIOCSPTLCK, &unlock) != 0) channel.fail("unlock the console", errno);
  int slave = ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) channel.fail("open the console", errno);
  if (process.width > 0 || process.height > 0) {
    winsize size{process.height, process.width, 0, 0};
    ::ioctl(master, TIOCSWINSZ, &size);
  }
  if (::fchown(slave, process.uid, static_cast<gid_t>(-1)) != 0) channel.fail("own the console", errno);
  if (as_device) mount_as_console(channel, slave);
  if (::ioctl(slave, TIOCSCTTY, 0) != 0) channel.fail("make the console the controlling terminal", errno);
  channel.send(Report::console, "", master);
  ::close(master);
  for (int fd = 0; fd < 3; ++fd)
    if (::dup2(slave, fd) < 0) channel.fail("use the console as stdio", errno);
  if (slave > 2) ::close(slave);
}

}  // namespace kcube::monitor
