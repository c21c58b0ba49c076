// One max-min by SimGrid 3.32's own solver: the LMM system that its network models hold, "maxmin", without selective update.
//
//   simgrid_maxmin PROBLEM RATES
//
// PROBLEM is little-endian: int64 flows, links; int64 start[flows + 1]; int64 link[start[flows]]; double capacity[links]; double cap[flows]
// (negative: none). RATES receives double rate[flows]. Prints the milliseconds of CPU time that System::solve() took, from its call to its
// return: building constraints, variables and elements is not counted, nor is anything that a network model does besides.
//
// The solver's headers are not installed, its symbols are exported: what is declared here is checked by the linker alone.
#include <ctime>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <simgrid/kernel/resource/Model.hpp>
#include <simgrid/s4u.hpp>
#include <string_view>
#include <vector>

namespace simgrid::kernel {
namespace resource {
class Resource;
}
namespace lmm {
class Constraint;
class Variable;
class System {
public:
  static System* build(std::string_view solver_name, bool selective_update);
  Constraint* constraint_new(resource::Resource* id, double bound);
  Variable* variable_new(resource::Action* id, double sharing_penalty, double bound, size_t number_of_constraints);
  void expand(Constraint* cnst, Variable* var, double consumption_weight, bool force_creation);
  void solve();
};
} // namespace lmm
} // namespace simgrid::kernel

using namespace simgrid::kernel;

// An action is the public way to read a variable.
struct Flow : resource::Action {
  Flow(resource::Model* model, lmm::Variable* variable) : Action(model, 1.0, false, variable) {}
  void update_remains_lazy(double) override {}
};

template <class T> std::vector<T> read(FILE* from, size_t count)
{
  std::vector<T> values(count);
  if (fread(values.data(), sizeof(T), count, from) != count) {
    fprintf(stderr, "simgrid_maxmin: the problem ends early\n");
    exit(2);
  }
  return values;
}

int main(int argc, char** argv)
{
  simgrid::s4u::Engine engine(&argc, argv);
  FILE* from = argc == 3 ? fopen(argv[1], "rb") : nullptr;
  FILE* to   = argc == 3 ? fopen(argv[2], "wb") : nullptr;
  if (not from || not to) {
    fprintf(stderr, "usage: simgrid_maxmin PROBLEM RATES\n");
    return 2;
  }
  const auto sizes    = read<int64_t>(from, 2);
  const auto start    = read<int64_t>(from, sizes[0] + 1);
  const auto link     = read<int64_t>(from, start.back());
  const auto capacity = read<double>(from, sizes[1]);
  const auto cap      = read<double>(from, sizes[0]);

  resource::Model model("flows");
  lmm::System* system = lmm::System::build("maxmin", false);
  std::vector<lmm::Constraint*> constraints;
  for (double most : capacity)
    constraints.push_back(system->constraint_new(nullptr, most));
  std::vector<Flow*> flows; // never freed: the process ends first
  for (int64_t i = 0; i < sizes[0]; i++) {
    lmm::Variable* variable = system->variable_new(nullptr, 1.0, cap[i], start[i + 1] - start[i]);
    for (int64_t e = start[i]; e < start[i + 1]; e++)
      system->expand(constraints[link[e]], variable, 1.0, true);
    flows.push_back(new Flow(&model, variable));
  }

  timespec begun, ended;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
  system->solve();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
  printf("%.6f\n", (ended.tv_sec - begun.tv_sec) * 1e3 + (ended.tv_nsec - begun.tv_nsec) * 1e-6);

  std::vector<double> rates;
  for (const Flow* flow : flows)
    rates.push_back(flow->get_rate());
  const bool written = fwrite(rates.data(), sizeof(double), rates.size(), to) == rates.size() && fclose(to) == 0;
  fflush(stdout);
  _Exit(written ? 0 : 2);
}
