#include "CHermes.h"
