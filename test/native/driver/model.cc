#include "model.h"

namespace culvert::driver {

Stream &Model::Opened(int32_t index, uint32_t generation, bool is_ours) {
  CHECK(streams_.count(index) == 0, "handle %d was given out twice", index);
  uint32_t &last = generations_[index];
  CHECK(generation > last, "handle %d has generation %u again, after %u", index, generation, last);
  last = generation;
  Stream &stream = streams_[index];
  stream.index = index;
  stream.generation = generation;
  stream.partner = index;
  stream.is_ours = is_ours;
  stream.is_connected = !is_ours;
  return stream;
}

Stream *Model::Find(int32_t index) {
  auto found = streams_.find(index);
  return found == streams_.end() ? nullptr : &found->second;
}

Stream &Model::Told(const int32_t *event) {
  Stream *stream = Find(event[1]);
  CHECK(stream != nullptr && stream->generation == uint32_t(event[2]), "event %d of a dead handle %d", event[0],
        event[1]);
  return *stream;
}

void Model::Data(Stream &stream, const Held &held) {
  CHECK(stream.is_connected, "data before connected");
  CHECK(!stream.has_ended, "data after the end");
  CHECK(held.length > 0 && held.length <= kBlockBytes, "%d bytes", held.length);
  CHECK(held.offset == held.block * kBlockBytes, "block %d at %d", held.block, held.offset);
  CHECK(reactor_.Blocks().IsCurrent(held.block, uint32_t(held.generation)), "data in a free block %d", held.block);
  CHECK(blocks_.emplace(held.block, held.generation).second, "block %d is held already", held.block);
  if (stream.is_paused || stream.is_closing) {
    CHECK(!stream.is_closing || round_ <= stream.quiet_after, "data after a close");
    // A connection that fails while writing is read to its end first, paused or not.
    if (round_ > stream.quiet_after) stream.must_fail = true;
  }
  stream.came.Follow(reactor_.Blocks().Memory() + held.offset, size_t(held.length), "script");
}

void Model::End(Stream &stream) {
  CHECK(stream.is_connected && !stream.has_ended, "an end that may not be");
  CHECK(!stream.must_fail, "data while paused, and no failure");
  stream.has_ended = true;
}

void Model::Connected(Stream &stream) {
  CHECK(stream.is_ours && !stream.is_connected && !stream.never_connects, "connected, which it cannot be");
  stream.is_connected = true;
}

void Model::Blocked(Stream &stream, bool is_blocked) {
  CHECK(stream.is_blocked != is_blocked, "blocked or drained twice");
  stream.is_blocked = is_blocked;
}

Stream Model::Closed(Stream &stream, int error, bool was_connected) {
  CHECK(error != 0 || stream.is_closing, "closed without error or command");
  CHECK(was_connected == stream.is_connected, "closed: had been connected %d, was told %d", was_connected,
        stream.is_connected);
  CHECK(!stream.must_fail || error != 0 || stream.is_closing, "data while paused, and no failure");
  Stream closed = std::move(stream);
  streams_.erase(closed.index);
  dead_connections.push_back({closed.index, closed.generation});
  if (dead_connections.size() > kRemembered) dead_connections.pop_front();
  return closed;
}

void Model::Paused(Stream &stream, bool is_paused) {
  stream.is_paused = is_paused;
  stream.quiet_after = round_;
}

void Model::Closing(Stream &stream) {
  stream.is_closing = true;
  stream.quiet_after = round_;
}

void Model::GivenUp(const Held &held) {
  CHECK(blocks_.erase(held.block) == 1, "block %d is not held", held.block);
  dead_blocks.push_back(held);
  if (dead_blocks.size() > kRemembered) dead_blocks.pop_front();
}

void Model::TimerFired(int32_t id) {
  auto timer = timers_.find(id);
  CHECK(timer != timers_.end(), "timer %d is not set", id);
  CHECK(timer->second <= Timers::NowNs(), "timer %d fired %ld ns early", id, timer->second - Timers::NowNs());
  timers_.erase(timer);
}

} // namespace culvert::driver
