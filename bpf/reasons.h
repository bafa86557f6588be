// Why a connection was captured or passed. Numbers are never reused: metrics, logs and user space
// (src/kernel/reasons.ts, compared by a unit test) know them. Each judgement is counted once, where it is made.
#pragma once

enum reason {
  REASON_CAPTURED_OUTBOUND = 1,
  REASON_CAPTURED_INBOUND = 2,
  REASON_PASS_NOT_ENROLLED = 3,
  REASON_PASS_NOT_STREAM = 4,
  REASON_PASS_PROXY = 5,
  REASON_PASS_LOOPBACK = 6,
  REASON_PASS_SELF = 7,
  REASON_PASS_BOUND_TO_DEVICE = 8,
  REASON_PASS_NO_INTEREST = 9,
  REASON_PASS_OPTED_OUT = 10,
  REASON_PASS_NO_SOURCE = 11,
  REASON_PASS_NO_LISTENER = 12,
  REASON_PASS_BIND_FAILED = 13,
  REASON_PASS_NO_MEMORY = 14,
  REASON_PASS_MESH_PORT = 15,
  REASON_PASS_BYPASS = 16,
  REASON_RECORD_LOST = 17,
  REASON_COUNT = 18,
};
