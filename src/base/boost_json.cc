// The one translation unit that contains Boost.JSON itself (it is used in source form).
#include <boost/json/src.hpp>
