// The devices controller of cgroup v2 is a BPF program that the kernel asks about every open and mknod.
// Source: bpf(2), struct bpf_cgroup_dev_ctx in linux/bpf.h.
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "runtime/cgroups.h"

namespace kcube::runtime {
namespace {

bpf_insn instruction(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
  bpf_insn i{};
  i.code = code;
  i.dst_reg = dst & 0xf;
  i.src_reg = src & 0xf;
  i.off = off;
  i.imm = imm;
  return i;
}

// r2 type, r3 access, r4 major, r5 minor, loaded once.
void load_context(std::vector<bpf_insn>& program) {
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0));
  program.push_back(instruction(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff));
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 0, 0));
  program.push_back(instruction(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16));
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0));
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0));
}

int32_t access_bits(const std::string& access) {
  int32_t bits = 0;
  if (access.find('m') != std::string::npos) bits |= BPF_DEVCG_ACC_MKNOD;
  if (access.find('r') != std::string::npos) bits |= BPF_DEVCG_ACC_READ;
  if (access.find('w') != std::string::npos) bits |= BPF_DEVCG_ACC_WRITE;
  return bits;
}

// "If all of this matches, allow"; each mismatch jumps to the next rule.
void append_rule(std::vector<bpf_insn>& program, const DeviceRule& rule) {
  std::vector<bpf_insn> tests;
  if (rule.type != 'a')
    tests.push_back(
        instruction(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0, rule.type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK));
  // Everything asked for must be among what is granted.
  tests.push_back(instruction(BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0));
  tests.push_back(instruction(BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, ~access_bits(rule.access)));
  tests.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, 1, 0, 0, 0));
  if (rule.major >= 0)
    tests.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, static_cast<int32_t>(rule.major)));
  if (rule.minor >= 0)
    tests.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, static_cast<int32_t>(rule.minor)));
  size_t length = tests.size() + 2;
  for (size_t i = 0; i < tests.size(); ++i)
    if (BPF_CLASS(tests[i].code) == BPF_JMP) tests[i].off = static_cast<int16_t>(length - i - 1);
  program.insert(program.end(), tests.begin(), tests.end());
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

int bpf(int command, bpf_attr& attributes) {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

}  // namespace

Result<void> attach_device_program(const std::string& directory, const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> program;
  load_context(program);
  for (const auto& rule : rules) append_rule(program, rule);
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));

  bpf_attr load;
  std::memset(&load, 0, sizeof load);
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = reinterpret_cast<uint64_t>(program.data());
  load.insn_cnt = static_cast<uint32_t>(program.size());
  load.license = reinterpret_cast<uint64_t>("GPL");
  Fd loaded(bpf(BPF_PROG_LOAD, load));
  if (!loaded.valid()) return fail(Status::from_errno("load the device program of " + directory));
  Fd group(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.valid()) return fail(Status::from_errno("open " + directory));
  bpf_attr attach;
  std::memset(&attach, 0, sizeof attach);
  attach.target_fd = static_cast<uint32_t>(group.get());
  attach.attach_bpf_fd = static_cast<uint32_t>(loaded.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (bpf(BPF_PROG_ATTACH, attach) != 0) return fail(Status::from_errno("attach the device program of " + directory));
  return {};
}

}  // namespace kcube::runtime
