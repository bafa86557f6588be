// A Reactor inside a worker's libuv loop: uv_poll on its epoll descriptor, its memory as ArrayBuffers.
//
// Two traps. A uv_poll that is open when its worker ends aborts the process: an asynchronous cleanup hook closes it. An
// exception of the script stays pending and would surface in an unrelated callback: it is made fatal at once.
#include "reactor/reactor_napi.h"

#include "native_error.h"
#include "reactor/reactor.h"

#include <climits>
#include <memory>
#include <uv.h>

namespace culvert {
namespace {

class ReactorObject : public Napi::ObjectWrap<ReactorObject> {
public:
  explicit ReactorObject(const Napi::CallbackInfo &info);
  ~ReactorObject() override;

  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "Reactor",
        {InstanceMethod<&ReactorObject::Start>("start"), InstanceMethod<&ReactorObject::Submit>("submit"),
         InstanceMethod<&ReactorObject::Reserve>("reserve"), InstanceMethod<&ReactorObject::Wake>("wake"),
         InstanceMethod<&ReactorObject::CloseNow>("close")});
  }

private:
  // The poll handle outlives the object: libuv gives it back in a later iteration.
  struct Poll {
    uv_poll_t handle;
    ReactorObject *owner;
    napi_async_cleanup_hook_handle cleanup;
  };

  void Start(const Napi::CallbackInfo &info);
  void Submit(const Napi::CallbackInfo &info) {
    if (core_ != nullptr) core_->Submit(info[0].As<Napi::Number>().Int32Value());
  }
  Napi::Value Reserve(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), core_ == nullptr ? -1 : core_->Reserve());
  }
  void Wake(const Napi::CallbackInfo &) {
    if (core_ != nullptr) core_->Wake();
  }
  void CloseNow(const Napi::CallbackInfo &) { Close(); }
  void Close();
  int CallScript(int begin, int end);
  void Share(Napi::Object self, const char *name, void *memory, size_t bytes);

  std::shared_ptr<Reactor> core_;
  Poll *poll_ = nullptr;
  Napi::FunctionReference on_turn_;
  Napi::ObjectReference stats_;
};

ReactorObject::ReactorObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ReactorObject>(info) {
  Napi::Env env = info.Env();
  auto options = info[0].As<Napi::Object>();
  auto stats = options.Get("stats").As<Napi::Float64Array>();
  if (stats.ElementLength() < kStatCount) {
    Napi::RangeError::New(env, "reactor: stats has too few elements").ThrowAsJavaScriptException();
    return;
  }
  stats_ = Napi::Persistent(stats.As<Napi::Object>());
  ReactorConfig config{};
  config.blocks = options.Get("blocks").ToNumber().Int32Value();
  config.worker = options.Get("worker").ToNumber().Int32Value();
  config.poison = options.Get("poison").ToBoolean();
  config.stats = stats.Data();
  auto core = std::make_shared<Reactor>(config);
  if (core->Error() != 0) {
    ThrowSystemError(env, "epoll_create1", core->Error(), "create a reactor",
                     "raise the limits of open files and of memory");
    return;
  }
  core_ = std::move(core);
  auto self = info.This().As<Napi::Object>();
  Share(self, "slab", core_->Blocks().Memory(), core_->Blocks().Bytes());
  Share(self, "events", core_->Events().Words(), core_->Events().Bytes());
  Share(self, "commands", core_->Commands().data(), core_->Commands().size() * sizeof(int32_t));
  Share(self, "generations", core_->Generations(), size_t{kMaxConnections} * sizeof(uint32_t));
}

ReactorObject::~ReactorObject() {
  Close();
}

// The memory lives until the last ArrayBuffer over it is collected.
void ReactorObject::Share(Napi::Object self, const char *name, void *memory, size_t bytes) {
  auto *owner = new std::shared_ptr<Reactor>(core_);
  self.Set(name, Napi::ArrayBuffer::New(
                     self.Env(), memory, bytes,
                     [](Napi::BasicEnv, void *, std::shared_ptr<Reactor> *held) { delete held; }, owner));
}

void ReactorObject::Start(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  if (core_ == nullptr || poll_ != nullptr) return;
  on_turn_ = Napi::Persistent(info[0].As<Napi::Function>());
  core_->SetScript([this](int begin, int end) { return CallScript(begin, end); });
  uv_loop_t *loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto *poll = new Poll{};
  if (int status = uv_poll_init(loop, &poll->handle, core_->EpollFd()); status != 0) {
    delete poll;
    ThrowSystemError(env, "epoll_ctl", -status, "watch the reactor in the event loop");
    return;
  }
  poll_ = poll;
  poll->owner = this;
  poll->handle.data = poll;
  napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void *data) {
        auto *closing = static_cast<Poll *>(data);
        if (closing->owner != nullptr) {
          closing->owner->Close();
        } // else: uv_close is under way, and removes the hook
      },
      poll, &poll->cleanup);
  uv_poll_start(&poll->handle, UV_READABLE, [](uv_poll_t *handle, int, int) {
    ReactorObject *owner = static_cast<Poll *>(handle->data)->owner;
    if (owner == nullptr) return;
    Napi::HandleScope scope(owner->Env());
    std::shared_ptr<Reactor> core = owner->core_; // the script may close the reactor
    core->Turn();
  });
  // All that other threads have for this loop (messages, promises of the platform) comes through its one eventfd.
  core_->WaitForHost(loop->async_io_watcher.fd, [loop] {
    uv_update_time(loop);
    int timeout_ms = uv_backend_timeout(loop);
    return timeout_ms < 0 ? INT_MAX : timeout_ms;
  });
  core_->Wake();
}

void ReactorObject::Close() {
  Poll *poll = std::exchange(poll_, nullptr);
  if (poll != nullptr) uv_poll_stop(&poll->handle); // before its descriptor is closed and the number used again
  if (core_ != nullptr) core_->Close();
  core_.reset();
  if (poll == nullptr) return;
  poll->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t *>(&poll->handle), [](uv_handle_t *handle) {
    auto *closed = static_cast<Poll *>(handle->data);
    napi_remove_async_cleanup_hook(closed->cleanup);
    delete closed;
  });
}

// One callback scope per call: promises of one round run before the next round.
int ReactorObject::CallScript(int begin, int end) {
  Napi::Env env = Env();
  Napi::HandleScope scope(env);
  napi_value arguments[] = {Napi::Number::New(env, begin), Napi::Number::New(env, end)};
  napi_value result = nullptr;
  napi_status status = napi_make_callback(env, nullptr, Value(), on_turn_.Value(), 2, arguments, &result);
  if (status == napi_ok) return core_ == nullptr ? -1 : std::exchange(core_->Commands()[kFilledWord], 0);
  bool is_pending = false;
  napi_value exception = nullptr;
  if (napi_is_exception_pending(env, &is_pending) == napi_ok && is_pending &&
      napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);
  return -1; // the worker ends
}

} // namespace

Napi::Function DefineReactor(Napi::Env env) {
  return ReactorObject::Define(env);
}

} // namespace culvert
